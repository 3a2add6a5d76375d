-- name: add
INSERT INTO step_judgements (step_judgement_id, response_id, annotator_id, separator, ends, labels, seconds)
VALUES ($step_judgement_id, $response_id, $annotator_id, $separator, $ends, $labels, $seconds)

-- name: standing
SELECT separator, ends, labels FROM step_judgements
WHERE annotator_id = $annotator_id AND response_id = $response_id
ORDER BY created_at DESC, rowid DESC
LIMIT 1

-- name: labels
SELECT annotator, annotator_kind, step, ends_at, text, label FROM step_labels
WHERE response_id = $response_id
ORDER BY annotator, step

-- name: counted
SELECT annotator, count(DISTINCT response_id) AS responses, count(*) AS steps
FROM step_labels
GROUP BY annotator
ORDER BY steps DESC, annotator

-- name: scores
SELECT step, ends_at, score FROM step_scores
WHERE response_id = $response_id AND reward_model_id = $reward_model_id
ORDER BY step

-- name: ingest_scores
INSERT OR REPLACE INTO step_scores (response_id, reward_model_id, step, ends_at, score)
SELECT response_id, $reward_model_id, step, ends_at, score
FROM read_parquet($path, file_row_number = true)
WHERE file_row_number >= $first AND file_row_number < $end AND score IS NOT NULL AND isfinite(score)
