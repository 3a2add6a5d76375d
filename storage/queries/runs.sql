-- name: add
INSERT INTO runs (run_id, kind, status, config, waits_for, run_dir) VALUES ($run_id, $kind, 'queued', $config, $waits_for, $run_dir)

-- name: list
SELECT run_id, kind, coalesce(config ->> '$.name', config ->> '$.reward_model', config ->> '$.policy', run_id), status,
       config, waits_for, data_hash, run_dir, device, pid, pid_started, last_seq, last_offset, stage, progress, reason,
       stderr_tail, summary, created_at, started_at, ended_at, dtype
FROM runs
WHERE $run_id IS NULL OR run_id = $run_id
ORDER BY created_at DESC, rowid DESC

-- name: unfinished
SELECT run_id, kind, coalesce(config ->> '$.name', config ->> '$.reward_model', config ->> '$.policy', run_id), status,
       config, waits_for, data_hash, run_dir, device, pid, pid_started, last_seq, last_offset, stage, progress, reason,
       stderr_tail, summary, created_at, started_at, ended_at
FROM runs
WHERE status IN ('queued', 'running')
ORDER BY created_at DESC, rowid DESC

-- name: load_metrics
INSERT INTO metrics (run_id, seq, step, name, value, logged_at)
SELECT run_id, seq, step, name, if(isfinite(value::DOUBLE), value, NULL), logged_at FROM arrived

-- name: known_latest
SELECT metrics FROM run_latest WHERE run_id = $run_id

-- name: change_latest
UPDATE run_latest SET metrics = $metrics WHERE run_id = $run_id

-- name: add_latest
INSERT INTO run_latest (run_id, metrics) VALUES ($run_id, $metrics)

-- name: forget_latest
DELETE FROM run_latest WHERE run_id IN (SELECT unnest($runs::VARCHAR[]))

-- name: read_latest
INSERT INTO run_latest (run_id, metrics)
SELECT run_id, json_group_object(name, json_object(
           'step', step, 'value_step', value_step, 'value_seq', value_seq, 'value', value))
FROM ({runs.latest})
GROUP BY run_id

-- name: latest
-- What the view latest_metrics gives, of all metrics of some runs, or of all where none are given.
SELECT run_id, name, step, said.step AS value_step, said.seq AS value_seq, said.value AS value
FROM (
    SELECT run_id, name, max(step) AS step,
           arg_max({'step': step, 'seq': seq, 'value': value}, (step, seq)) FILTER (value IS NOT NULL) AS said
    FROM metrics
    WHERE $runs IS NULL OR run_id IN (SELECT unnest($runs::VARCHAR[]))
    GROUP BY run_id, name
)

-- name: metrics
SELECT name, step, value
FROM metrics
WHERE run_id = $run_id AND value IS NOT NULL AND step > $after_step
QUALIFY row_number() OVER (PARTITION BY name, step ORDER BY seq DESC) = 1
ORDER BY name, step

-- name: new_metrics
SELECT seq, step, name, value, epoch(logged_at)
FROM metrics
WHERE run_id = $run_id AND seq > $after AND value IS NOT NULL
ORDER BY seq, step, name

-- name: drop_metrics_after
DELETE FROM metrics WHERE run_id = $run_id AND step > $step

-- name: drop_rollouts_after
DELETE FROM rollouts WHERE run_id = $run_id AND step > $step

-- name: drop_evaluations_after
DELETE FROM evaluations WHERE run_id = $run_id AND step > $step

-- name: ingest_evaluations
INSERT OR REPLACE INTO evaluations (run_id, step, prompt_id, sample_index, text, score, objective, gold, kl, tokens, stopped, components)
SELECT $run_id, step, prompt_id, sample_index, text, score, objective, gold, kl, tokens, stopped, components
FROM read_parquet($path, file_row_number = true)
WHERE file_row_number >= $first AND file_row_number < $end

-- name: load_messages
INSERT INTO run_messages (run_id, seq, level, text, logged_at)
SELECT run_id, seq, level, text, logged_at FROM arrived
ON CONFLICT DO NOTHING

-- name: messages
SELECT seq, level, text, logged_at FROM run_messages WHERE run_id = $run_id ORDER BY seq DESC LIMIT $limit

-- name: ingest_rollouts
INSERT OR REPLACE INTO rollouts (run_id, step, prompt_id, sample_index, text, score, reward, kl, tokens, stopped, components)
SELECT $run_id, step, prompt_id, sample_index, text, score, reward, kl, tokens, stopped, components
FROM (
    SELECT NULL::JSON AS components WHERE false      -- files of runs with one scorer need not have the column
    UNION ALL BY NAME
    SELECT * FROM read_parquet($path, file_row_number = true)
    WHERE file_row_number >= $first AND file_row_number < $end
)

-- name: ingest_splits
INSERT OR REPLACE INTO run_prompts (run_id, prompt_id, split)
SELECT $run_id, prompt_id, split FROM read_parquet($path, file_row_number = true)
WHERE file_row_number >= $first AND file_row_number < $end

-- name: ingest_unseen
INSERT OR REPLACE INTO unseen_margins (run_id, split, criterion, prompt_id, response_a, response_b, margin)
SELECT $run_id, split, criterion, prompt_id, response_a, response_b, margin FROM read_parquet($path, file_row_number = true)
WHERE file_row_number >= $first AND file_row_number < $end

-- name: rollout_steps
SELECT DISTINCT step FROM rollouts WHERE run_id = $run_id ORDER BY step

-- name: waiting_for_people
-- Runs that wait for people, as they now stand.
SELECT run_id || ' ' || last_seq FROM runs WHERE status = 'paused' AND (config ->> 'compare') = 'people' ORDER BY run_id

-- name: waited_for
-- Prompts of which a paused run has sampled for people what nobody has judged yet: the run that has waited longest first.
SELECT r.prompt_id
FROM runs u
JOIN responses r ON r.run_id = u.run_id
WHERE u.status = 'paused' AND (u.config ->> 'compare') = 'people'
  AND r.response_id NOT IN (SELECT response_id FROM judgement_items)
GROUP BY r.prompt_id
ORDER BY min(u.created_at), r.prompt_id
