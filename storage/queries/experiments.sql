-- name: put
INSERT INTO experiments (experiment, text, judge) VALUES ($experiment, $text, $judge)
ON CONFLICT (experiment) DO UPDATE SET text = excluded.text, judge = excluded.judge

-- name: list
SELECT e.experiment, e.text, e.judge, e.created_at, count(DISTINCT x.arm), count(x.run_id),
       count(*) FILTER (r.status = 'done'), count(*) FILTER (r.status IN ('queued', 'running'))
FROM experiments e
LEFT JOIN experiment_runs x USING (experiment)
LEFT JOIN runs r USING (run_id)
WHERE $experiment IS NULL OR e.experiment = $experiment
GROUP BY ALL
ORDER BY e.created_at DESC, e.experiment

-- name: add_run
INSERT INTO experiment_runs (experiment, arm, seed, role, run_id, settings)
VALUES ($experiment, $arm, $seed, $role, $run_id, $settings)

-- name: runs
SELECT x.arm, x.seed, x.role, x.run_id, x.settings, r.kind, r.status, r.reason,
       date_diff('millisecond', r.started_at, r.ended_at) / 1000.0
FROM experiment_runs x
JOIN runs r USING (run_id)
WHERE x.experiment = $experiment
ORDER BY x.created_at, r.created_at, x.arm, x.seed, x.role

-- name: last_metrics
SELECT x.arm, x.seed, m.name, arg_max(m."value", (m.value_step, m.value_seq))
FROM experiment_runs x
JOIN latest_metrics m USING (run_id)
WHERE x.experiment = $experiment AND m.name IN (SELECT unnest($names::VARCHAR[])) AND m."value" IS NOT NULL
GROUP BY ALL
ORDER BY ALL

-- name: policies
SELECT DISTINCT p.name
FROM experiment_runs x
JOIN responses r USING (run_id)
JOIN policies p USING (policy_id)
WHERE x.experiment = $experiment AND x.role = 'sample'
ORDER BY p.name

-- name: by_prompt
-- The policies are named, since only scores that are filtered by a value are filtered before they are ranked.
-- A row for each arm, seed and prompt: mean length, and the mean score by a reward model where all have one.
WITH ours AS MATERIALIZED (SELECT * FROM experiment_responses WHERE experiment = $experiment)
SELECT o.arm, o.seed, o.prompt_id, avg(o.tokens), if(count(s.score) = count(*), avg(s.score), NULL)
FROM ours o
LEFT JOIN response_scores s
       ON s.response_id = o.response_id AND s.reward_model = $judge AND list_contains($policies::VARCHAR[], s.policy)
GROUP BY ALL
ORDER BY ALL

-- name: met_by_model
-- Arms of one seed against each other: the share of pairs of responses that the first won, a tie one half.
WITH ours AS MATERIALIZED (
    SELECT o.arm, o.seed, o.prompt_id, s.score
    FROM experiment_responses o
    JOIN response_scores s ON s.response_id = o.response_id
    WHERE o.experiment = $experiment AND s.reward_model = $judge AND list_contains($policies::VARCHAR[], s.policy)
)
SELECT a.arm, b.arm, a.seed, a.prompt_id, avg(CASE WHEN a.score > b.score THEN 1.0 WHEN a.score < b.score THEN 0.0 ELSE 0.5 END),
       count(*)
FROM ours a
JOIN ours b ON b.seed = a.seed AND b.prompt_id = a.prompt_id AND b.arm > a.arm
GROUP BY ALL
ORDER BY ALL

-- name: met_by_annotators
-- The same by the verdicts of annotators; whichever seeds they have compared.
WITH ours AS MATERIALIZED (
    SELECT arm, seed, prompt_id, response_id FROM experiment_responses WHERE experiment = $experiment
), verdicts AS (
    SELECT winner_id AS x, loser_id AS y, 1.0 AS won, annotator, annotator_kind, criterion FROM preference_pairs
    UNION ALL
    SELECT response_a, response_b, 0.5, annotator, annotator_kind, criterion FROM preference_ties
), met AS (
    SELECT a.arm AS first, b.arm AS second, a.prompt_id, v.won
    FROM verdicts v
    JOIN ours a ON a.response_id = v.x
    JOIN ours b ON b.response_id = v.y
    WHERE a.arm <> b.arm AND v.criterion = 'overall'
      AND (list_contains($kinds::VARCHAR[], v.annotator_kind) OR v.annotator = $annotator)
)
SELECT least(first, second), greatest(first, second), 0, prompt_id, avg(if(first < second, won, 1 - won)), count(*)
FROM met
GROUP BY ALL
ORDER BY ALL
