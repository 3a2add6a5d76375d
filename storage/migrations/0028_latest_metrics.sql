-- The last value of each metric of a run beside all of them, so that a list of runs does not read millions of rows.
-- Kept in the transaction that stores the metrics (storage.runs), as one row a run, which costs a third of what a row a metric does.
CREATE TABLE run_latest (
    run_id  VARCHAR PRIMARY KEY,
    metrics JSON NOT NULL                       -- by name the columns of latest_metrics
);

-- One row a run and metric.
CREATE VIEW latest_metrics AS
SELECT run_id, said.key AS name,
       said.value.step AS step,                 -- the farthest step at which it was said
       said.value.value_step AS value_step,     -- where the last value that is a number was said; the event's seq
       said.value.value_seq AS value_seq,
       said.value."value" AS "value"
FROM (
    SELECT run_id, unnest(map_entries(
               metrics::MAP(VARCHAR, STRUCT(step BIGINT, value_step BIGINT, value_seq BIGINT, "value" DOUBLE)))) AS said
    FROM run_latest
);

INSERT INTO run_latest
SELECT run_id, json_group_object(name, json_object(
           'step', step, 'value_step', said.step, 'value_seq', said.seq, 'value', said.value))
FROM (
    SELECT run_id, name, max(step) AS step,
           arg_max({'step': step, 'seq': seq, 'value': value}, (step, seq)) FILTER (value IS NOT NULL) AS said
    FROM metrics
    GROUP BY run_id, name
)
GROUP BY run_id;

-- As before, of these.
CREATE OR REPLACE VIEW run_summary AS
WITH figures AS (
    SELECT run_id, max(step) AS last_step,
           any_value(value) FILTER (name = 'train/loss') AS loss,
           any_value(value) FILTER (name = 'heldout/accuracy') AS heldout_accuracy,
           any_value(value) FILTER (name = 'heldout/log_loss') AS heldout_log_loss,
           any_value(value) FILTER (name = 'policy/score') AS score,
           any_value(value) FILTER (name = 'policy/kl') AS kl,
           any_value(value) FILTER (name = 'policy/entropy') AS entropy,
           any_value(value) FILTER (name = 'policy/length') AS length
    FROM latest_metrics
    GROUP BY run_id
)
SELECT r.run_id, r.kind, coalesce(r.config ->> '$.name', r.config ->> '$.reward_model', r.config ->> '$.policy') AS name,
       r.status, r.device, r.created_at, r.started_at, r.ended_at,
       date_diff('millisecond', r.started_at, r.ended_at) / 1000 AS seconds,
       f.last_step, f.loss, f.heldout_accuracy, f.heldout_log_loss, f.score, f.kl, f.entropy, f.length,
       (SELECT count(*) FROM responses x WHERE x.run_id = r.run_id) AS responses,
       (SELECT count(*) FROM rollouts x WHERE x.run_id = r.run_id) AS rollouts,
       (SELECT count(*) FROM scores x WHERE x.run_id = r.run_id) AS scores,
       r.data_hash, r.reason
FROM runs r
LEFT JOIN figures f ON f.run_id = r.run_id;

CREATE OR REPLACE VIEW reward_models AS
WITH newest AS (
    SELECT artifact_id, name, path, run_id, created_at
    FROM artifacts
    WHERE kind = 'reward_model'
    QUALIFY row_number() OVER (PARTITION BY name ORDER BY created_at DESC, artifact_id) = 1
), exports AS (
    SELECT parent_id, run_id, regexp_replace(any_value(path), '/[^/]*$', '') AS onnx_folder,
           list(name ORDER BY name) AS precisions
    FROM artifacts
    WHERE kind = 'onnx'
    GROUP BY parent_id, run_id
    QUALIFY row_number() OVER (PARTITION BY parent_id ORDER BY max(created_at) DESC, run_id) = 1
)
SELECT n.artifact_id AS reward_model_id, n.name, n.path AS folder, n.run_id, e.onnx_folder,
       coalesce(e.precisions, []) AS precisions,
       (k.metrics -> '$."heldout/accuracy".value')::DOUBLE AS accuracy,
       (k.metrics -> '$."heldout/log_loss".value')::DOUBLE AS log_loss, n.created_at
FROM newest n
LEFT JOIN exports e ON e.parent_id = n.artifact_id
LEFT JOIN run_latest k ON k.run_id = n.run_id;
