-- Metrics of policy learning are `policy/…`, whichever method made them: PPO, GRPO, RLOO, and what comes.
UPDATE metrics SET name = 'policy/' || substr(name, 5) WHERE starts_with(name, 'ppo/');

CREATE OR REPLACE VIEW run_summary AS
WITH last AS (
    SELECT run_id, name, arg_max(value, (step, seq)) AS value, max(step) AS step FROM metrics GROUP BY run_id, name
), figures AS (
    SELECT run_id, max(step) AS last_step,
           any_value(value) FILTER (name = 'train/loss') AS loss,
           any_value(value) FILTER (name = 'heldout/accuracy') AS heldout_accuracy,
           any_value(value) FILTER (name = 'heldout/log_loss') AS heldout_log_loss,
           any_value(value) FILTER (name = 'policy/score') AS score,
           any_value(value) FILTER (name = 'policy/kl') AS kl,
           any_value(value) FILTER (name = 'policy/entropy') AS entropy,
           any_value(value) FILTER (name = 'policy/length') AS length
    FROM last
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

CREATE OR REPLACE VIEW overoptimisation AS
WITH last AS (
    SELECT run_id, step, name, arg_max(value, seq) AS value
    FROM metrics
    WHERE name IN ('policy/score', 'policy/gold', 'policy/kl', 'bon/proxy', 'bon/gold', 'bon/kl')
    GROUP BY ALL
), points AS (
    SELECT run_id, split_part(name, '/', 1) AS family, step,
           any_value(value) FILTER (name IN ('policy/kl', 'bon/kl')) AS kl,
           any_value(value) FILTER (name IN ('policy/score', 'bon/proxy')) AS proxy,
           any_value(value) FILTER (name IN ('policy/gold', 'bon/gold')) AS gold
    FROM last
    GROUP BY ALL
)
SELECT p.run_id, r.kind, CASE p.family WHEN 'bon' THEN 'best of n' ELSE 'policy learning' END AS method, p.step,
       p.kl, sqrt(greatest(p.kl, 0)) AS sqrt_kl, p.proxy, p.gold
FROM points p
JOIN runs r USING (run_id)
WHERE p.kl IS NOT NULL;
