-- name: add
INSERT OR REPLACE INTO scores (response_id, reward_model_id, score, backend, run_id) VALUES (?, ?, ?, ?, ?)

-- name: load
INSERT OR REPLACE INTO scores (response_id, reward_model_id, score, backend, run_id)
SELECT response_id, reward_model_id, score, backend, run_id FROM arrived

-- name: ingest
INSERT OR REPLACE INTO scores (response_id, reward_model_id, score, backend, run_id)
SELECT response_id, $reward_model_id, score, backend, $run_id
FROM read_parquet($path)
WHERE score IS NOT NULL AND isfinite(score)

-- name: unscored
SELECT r.response_id, r.prompt_id, p.messages, r.text
FROM responses r
JOIN prompts p USING (prompt_id)
WHERE NOT EXISTS (SELECT 1 FROM scores s
                  WHERE s.response_id = r.response_id AND s.reward_model_id = $reward_model_id AND s.backend = $backend)
  AND r.response_id > $after
ORDER BY r.response_id
LIMIT $limit

-- name: count_unscored
SELECT count(*)
FROM responses r
WHERE NOT EXISTS (SELECT 1 FROM scores s
                  WHERE s.response_id = r.response_id AND s.reward_model_id = $reward_model_id AND s.backend = $backend)
