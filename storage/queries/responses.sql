-- name: of_prompts
WITH chosen AS MATERIALIZED (
    SELECT * FROM responses WHERE prompt_id IN (SELECT unnest($prompt_ids::VARCHAR[]))
), standing AS (
    SELECT j.judgement_id, j.prompt_id
    FROM judgements j
    WHERE j.prompt_id IN (SELECT unnest($prompt_ids::VARCHAR[])) AND j.kind NOT IN ('skip', 'retraction')
      AND NOT EXISTS (SELECT 1 FROM judgements later WHERE later.supersedes = j.judgement_id)
), ranked AS (
    SELECT i.response_id, coalesce(i.rank, rank() OVER (PARTITION BY i.judgement_id ORDER BY i.rating DESC NULLS LAST)) AS rank
    FROM standing
    JOIN judgement_items i USING (judgement_id)
    WHERE i.rank IS NOT NULL OR i.rating IS NOT NULL
), means AS (
    SELECT response_id, avg(rank) AS mean_rank FROM ranked GROUP BY response_id
)
SELECT r.response_id, r.prompt_id, p.name, r.text, len(r.token_ids), r.finish_reason, r.run_id, r.sample_index, m.mean_rank
FROM chosen r
JOIN policies p USING (policy_id)
LEFT JOIN means m USING (response_id)
ORDER BY p.created_at, p.name, r.created_at, r.sample_index, r.response_id

-- name: scores_of_prompts
WITH chosen AS MATERIALIZED (
    SELECT response_id FROM responses WHERE prompt_id IN (SELECT unnest($prompt_ids::VARCHAR[]))
), found AS MATERIALIZED (
    SELECT response_id, reward_model_id, score, criterion, backend, scored_at
    FROM scores
    WHERE response_id IN (SELECT response_id FROM chosen)
), models AS (
    SELECT artifact_id, name, details
    FROM artifacts
    WHERE kind = 'reward_model'
    QUALIFY row_number() OVER (PARTITION BY name ORDER BY created_at DESC, artifact_id) = 1
)
SELECT s.response_id, m.name,
       arg_min(s.score, (criterion_place(s.criterion, m.details), s.criterion, exactness(s.backend), -epoch(s.scored_at)))
FROM found s
JOIN models m ON m.artifact_id = s.reward_model_id
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
FROM read_parquet($path, file_row_number = true)
WHERE file_row_number >= $first AND file_row_number < $end
ON CONFLICT DO NOTHING
