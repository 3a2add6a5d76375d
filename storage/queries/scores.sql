-- name: load
INSERT OR REPLACE INTO scores (response_id, reward_model_id, score, backend, run_id, criterion, uncertainty, cut)
SELECT response_id, reward_model_id, score, backend, run_id, criterion, uncertainty, cut FROM arrived

-- name: ingest
-- A file may lack the columns criterion, uncertainty and cut: BY NAME fills them with NULL.
INSERT OR REPLACE INTO scores (response_id, reward_model_id, score, backend, run_id, criterion, uncertainty, cut)
SELECT response_id, $reward_model_id, score, backend, $run_id, coalesce(criterion, 'overall'),
       CASE WHEN isfinite(uncertainty) THEN uncertainty END, cut
FROM (SELECT NULL::VARCHAR AS criterion, NULL::DOUBLE AS uncertainty, NULL::BOOLEAN AS cut WHERE false
      UNION ALL BY NAME
      SELECT * FROM read_parquet($path, file_row_number = true)
      WHERE file_row_number >= $first AND file_row_number < $end)
WHERE score IS NOT NULL AND isfinite(score)

-- name: unscored
SELECT r.response_id, r.prompt_id, p.messages, r.text
FROM responses r
JOIN prompts p USING (prompt_id)
WHERE NOT EXISTS (SELECT 1 FROM scores s
                  WHERE s.response_id = r.response_id AND s.reward_model_id = $reward_model_id AND s.backend = $backend)
  AND (r.prompt_id, r.response_id) > ($after_prompt, $after_response)
ORDER BY r.prompt_id, r.response_id
LIMIT $limit

-- name: count_unscored
SELECT count(*)
FROM responses r
WHERE NOT EXISTS (SELECT 1 FROM scores s
                  WHERE s.response_id = r.response_id AND s.reward_model_id = $reward_model_id AND s.backend = $backend)
