-- name: schema
SELECT max(version) FROM schema_migrations

-- name: unfinished
SELECT count(*) FROM {other}.main.runs WHERE status IN ('queued', 'running')

-- name: different_things
-- Identifiers of runs are short: two stores may have drawn one for two runs.  Of a response the text is what was judged.
WITH clashes AS (
    SELECT 'the run' AS what, i.run_id AS key
    FROM {other}.main.runs i
    JOIN main.runs o USING (run_id)
    WHERE i.kind <> o.kind OR i.config::VARCHAR <> o.config::VARCHAR OR i.created_at <> o.created_at
    UNION ALL
    SELECT 'the response', i.response_id
    FROM {other}.main.responses i
    JOIN main.responses o USING (response_id)
    WHERE i.text <> o.text OR i.prompt_id <> o.prompt_id OR i.policy_id <> o.policy_id
    UNION ALL
    SELECT 'the judgement', i.judgement_id
    FROM {other}.main.judgements i
    JOIN main.judgements o USING (judgement_id)
    WHERE i.annotator_id <> o.annotator_id OR i.kind <> o.kind OR i.prompt_id <> o.prompt_id
)
SELECT what, key, count(*) OVER () FROM clashes ORDER BY ALL LIMIT 1

-- name: is_package
SELECT count(*) FROM {other}.main.store_settings WHERE key = 'package'

-- name: standing_runs
-- Of the runs that both have, whether theirs has come farther; NULL where both are as far.
CREATE OR REPLACE TEMP TABLE standing AS
SELECT i.run_id,
       CASE WHEN i.last_seq > o.last_seq THEN true WHEN i.last_seq < o.last_seq THEN false END AS better
FROM {other}.main.runs i
JOIN main.runs o USING (run_id)
WHERE i.status NOT IN ('queued', 'running')

-- name: arriving
SELECT * FROM {other}.main.{table}

-- name: arriving_figures
SELECT i.*
FROM {other}.main.{table} i
LEFT JOIN temp.standing s USING (run_id)
WHERE s.better IS NOT false
  AND i.run_id NOT IN (SELECT run_id FROM {other}.main.runs WHERE status IN ('queued', 'running'))

-- name: arriving_runs
SELECT * FROM {other}.main.runs WHERE status NOT IN ('queued', 'running')

-- name: arrived_runs
SELECT run_id FROM {other}.main.runs WHERE status NOT IN ('queued', 'running')

-- name: arriving_queries
SELECT * FROM {other}.main.saved_queries WHERE name IS NOT NULL

-- name: one_query_a_name
DELETE FROM saved_queries
WHERE name IS NOT NULL AND query_id NOT IN (
    SELECT arg_max(query_id, (created_at, query_id)) FROM saved_queries WHERE name IS NOT NULL GROUP BY name)
