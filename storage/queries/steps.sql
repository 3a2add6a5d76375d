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

-- name: next_unjudged
-- Of responses with more than one line the one whose steps have the fewest annotators, then the oldest prompt's.
SELECT r.response_id
FROM responses r
JOIN prompts p USING (prompt_id)
LEFT JOIN (SELECT response_id, count(DISTINCT annotator_id) AS annotators, bool_or(annotator_id = $annotator_id) AS own
           FROM step_judgements GROUP BY response_id) j USING (response_id)
WHERE contains(trim(r.text, chr(10) || ' '), $separator) AND NOT coalesce(j.own, false)
  AND NOT list_contains($left, r.response_id)
ORDER BY coalesce(j.annotators, 0), p.created_at, r.prompt_id, r.created_at, r.response_id
LIMIT 1

-- name: last_judged
SELECT response_id FROM step_judgements
WHERE annotator_id = $annotator_id
ORDER BY created_at DESC, rowid DESC
LIMIT 1

-- name: response
SELECT r.response_id, r.prompt_id, p.text, r.text
FROM responses r
JOIN prompts p USING (prompt_id)
WHERE r.response_id = $response_id

-- name: done
WITH standing AS (
    SELECT response_id, arg_max(labels, (created_at, rowid)) AS labels
    FROM step_judgements WHERE annotator_id = $annotator_id GROUP BY response_id
)
SELECT count(*), coalesce(sum(len(list_filter(labels, lambda x: x IS NOT NULL))), 0)::BIGINT
FROM standing WHERE len(labels) > 0

-- name: keep_draft
INSERT OR REPLACE INTO step_drafts (annotator_id, response_id, ends, labels, updated_at)
VALUES ($annotator_id, $response_id, $ends, $labels, now() AT TIME ZONE 'UTC')

-- name: drop_draft
DELETE FROM step_drafts WHERE annotator_id = $annotator_id AND response_id = $response_id

-- name: draft
SELECT ends, labels FROM step_drafts WHERE annotator_id = $annotator_id AND response_id = $response_id

-- name: newest_draft
SELECT d.response_id
FROM step_drafts d
JOIN responses USING (response_id)
WHERE d.annotator_id = $annotator_id AND NOT list_contains($left, d.response_id)
ORDER BY d.updated_at DESC, d.response_id
LIMIT 1
