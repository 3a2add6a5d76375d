-- name: of_step
SELECT r.run_id, r.step, r.prompt_id, r.sample_index, p.text, r.text, r.score, r.reward, r.kl, r.tokens, r.stopped,
       r.components
FROM rollouts r
LEFT JOIN prompts p USING (prompt_id)
WHERE r.run_id = $run_id AND r.step = $step
ORDER BY r.prompt_id, r.sample_index
LIMIT $limit

-- name: earlier
SELECT r.run_id, r.step, r.prompt_id, r.sample_index, NULL, r.text, r.score, r.reward, r.kl, r.tokens, r.stopped,
       r.components
FROM rollouts r
WHERE r.run_id = $run_id AND r.step < $step
  AND r.prompt_id IN (SELECT prompt_id FROM rollouts WHERE run_id = $run_id AND step = $step)
QUALIFY r.step = CASE WHEN $first THEN min(r.step) OVER (PARTITION BY r.prompt_id)
                      ELSE max(r.step) OVER (PARTITION BY r.prompt_id) END
ORDER BY r.prompt_id, r.sample_index

-- name: trace_steps
SELECT DISTINCT step FROM token_traces WHERE run_id = $run_id ORDER BY step

-- name: trace
SELECT position, token_id, token, logprob, ref_logprob, kl, reward, "value", advantage, "return", ratio
FROM token_traces
WHERE run_id = $run_id AND step = $step AND prompt_id = $prompt_id AND sample_index = $sample_index
ORDER BY position

-- name: traced_responses
SELECT DISTINCT t.prompt_id, t.sample_index
FROM token_traces t
WHERE t.run_id = $run_id AND t.step = $step
ORDER BY t.prompt_id, t.sample_index

-- name: overoptimisation
SELECT run_id, kind, method, step, kl, sqrt_kl, proxy, gold
FROM overoptimisation
WHERE run_id = $run_id
ORDER BY step

-- name: best_of_n_runs
SELECT run_id
FROM runs
WHERE kind = 'best_of_n' AND status = 'done' AND (config ->> '$.reward_model') = $reward_model
  AND ($policy IS NULL OR (config ->> '$.policy') = $policy)
ORDER BY created_at DESC

-- name: gold_curves
SELECT method, variant, labels, replicate, n, step, kl, sqrt_kl, proxy, gold, length, wins FROM gold_curves
WHERE run_id = $run_id
ORDER BY method, variant, labels, replicate, coalesce(n, step)
