-- name: of_prompt
SELECT r.response_id, r.prompt_id, p.name, r.text, len(r.token_ids), r.finish_reason, r.run_id, r.sample_index,
       (SELECT avg(k.rank) FROM rankings k WHERE k.prompt_id = $prompt_id AND k.response_id = r.response_id)
FROM responses r
JOIN policies p USING (policy_id)
WHERE r.prompt_id = $prompt_id
ORDER BY p.created_at, p.name, r.created_at, r.sample_index, r.response_id

-- name: scores_of_prompt
WITH chosen AS MATERIALIZED (SELECT response_id FROM responses WHERE prompt_id = $prompt_id)
SELECT s.response_id, m.name, arg_max(s.score, (s.scored_at, s.backend))
FROM scores s
SEMI JOIN chosen USING (response_id)
JOIN reward_models m USING (reward_model_id)
GROUP BY ALL

-- name: add
INSERT INTO responses (response_id, prompt_id, policy_id, sample_index, text, source)
VALUES ($response_id, $prompt_id, $policy_id, $sample_index, $text, $source)
ON CONFLICT DO NOTHING

-- name: ingest
INSERT INTO responses (response_id, prompt_id, policy_id, run_id, sample_index, text, token_ids, token_logprobs,
                       finish_reason, sampling, seed)
SELECT 'r' || substr(sha256($run_id || chr(31) || prompt_id || chr(31) || sample_index::VARCHAR), 1, 16), prompt_id,
       $policy_id, $run_id, sample_index, text, token_ids, token_logprobs, finish_reason, $sampling, $seed
FROM read_parquet($path)
ON CONFLICT DO NOTHING
