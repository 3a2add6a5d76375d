-- name: empty_traces
COPY (
    SELECT NULL::BIGINT AS step, NULL::VARCHAR AS prompt_id, NULL::INTEGER AS sample_index, NULL::INTEGER AS position,
           NULL::INTEGER AS token_id, NULL::VARCHAR AS token, NULL::DOUBLE AS logprob, NULL::DOUBLE AS ref_logprob,
           NULL::DOUBLE AS kl, NULL::DOUBLE AS reward, NULL::DOUBLE AS "value", NULL::DOUBLE AS advantage,
           NULL::DOUBLE AS "return", NULL::DOUBLE AS ratio
    LIMIT 0
) TO {file} (FORMAT parquet)

-- name: traces_view
CREATE OR REPLACE VIEW token_traces AS
SELECT regexp_extract(filename, '([^/]+)/traces/[^/]+$', 1) AS run_id, step, prompt_id, sample_index, position, token_id,
       token, logprob, ref_logprob, kl, reward, "value", advantage, "return", ratio
FROM read_parquet({pattern}, union_by_name = true, filename = true)

-- name: no_traces_view
CREATE OR REPLACE VIEW token_traces AS
SELECT NULL::VARCHAR AS run_id, NULL::BIGINT AS step, NULL::VARCHAR AS prompt_id, NULL::INTEGER AS sample_index,
       NULL::INTEGER AS position, NULL::INTEGER AS token_id, NULL::VARCHAR AS token, NULL::DOUBLE AS logprob,
       NULL::DOUBLE AS ref_logprob, NULL::DOUBLE AS kl, NULL::DOUBLE AS reward, NULL::DOUBLE AS "value",
       NULL::DOUBLE AS advantage, NULL::DOUBLE AS "return", NULL::DOUBLE AS ratio
WHERE false

-- name: remember_runs_root
INSERT OR REPLACE INTO store_settings VALUES ('runs_root', $root)

-- name: strayed_runs
SELECT run_id FROM runs WHERE run_dir <> $root || '/' || run_id

-- name: unfinished_runs
SELECT run_dir FROM runs WHERE status NOT IN ('done', 'failed') AND run_dir IS NOT NULL

-- name: moved_run
UPDATE runs SET run_dir = $folder WHERE run_id = $run_id

-- name: moved_artifacts
UPDATE artifacts
SET path = $folder || substr(path, strpos(path, '/' || $run_id || '/') + length($run_id) + 1)
WHERE run_id = $run_id AND contains(path, '/' || $run_id || '/')

-- name: moved_policies
UPDATE policies
SET model = $folder || substr(model, strpos(model, '/' || $run_id || '/') + length($run_id) + 1)
WHERE run_id = $run_id AND contains(model, '/' || $run_id || '/')

-- name: remembered
SELECT value FROM store_settings WHERE key = $key

-- name: remember
INSERT OR REPLACE INTO store_settings VALUES ($key, $value)

-- name: forget
DELETE FROM store_settings WHERE key = $key

-- name: remembered_like
SELECT key, value FROM store_settings WHERE starts_with(key, $beginning) ORDER BY key
