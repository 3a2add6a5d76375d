-- name: tables
SELECT table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary ORDER BY 1

-- name: read_whole
SELECT bit_xor(hash(all_of_it)) FROM {table} AS all_of_it

-- name: artifacts
SELECT kind || ' ' || name, path, kind <> 'checkpoint' FROM artifacts ORDER BY 1

-- name: runs
SELECT run_id, run_dir FROM runs WHERE run_dir IS NOT NULL ORDER BY 1

-- name: orphaned_responses
SELECT count(*), 'prompts' FROM responses ANTI JOIN prompts USING (prompt_id)

-- name: orphaned_judgements
SELECT count(*), 'prompts' FROM judgements ANTI JOIN prompts USING (prompt_id)

-- name: orphaned_judgement_items
SELECT count(*), 'judgements' FROM judgement_items ANTI JOIN judgements USING (judgement_id)

-- name: orphaned_scores
SELECT count(*), 'responses' FROM scores ANTI JOIN responses USING (response_id)

-- name: orphaned_rollouts
SELECT count(*), 'runs' FROM rollouts ANTI JOIN runs USING (run_id)

-- name: orphaned_metrics
SELECT count(*), 'runs' FROM metrics ANTI JOIN runs USING (run_id)

-- name: stale_latest
-- Runs whose last values are not those of their metrics, as after metrics were changed by hand.
WITH found AS ({runs.latest})
SELECT DISTINCT run_id
FROM ((FROM found EXCEPT FROM latest_metrics) UNION ALL (FROM latest_metrics EXCEPT FROM found))
ORDER BY run_id
