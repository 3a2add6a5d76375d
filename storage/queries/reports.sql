-- name: basis
WITH judged AS (
    SELECT count(*) FILTER (measured AND NOT tied) AS pairs, count(*) FILTER (measured AND tied) AS tied,
           count(*) FILTER (measured) AS measured, count(*) FILTER (trained AND NOT tied) AS trained
    FROM judged_pairs($reward_model, $criterion)
), verdicts_of_measured AS (
    SELECT count(*) AS pairs
    FROM (SELECT DISTINCT v.x, v.y
          FROM verdicts v, model_run($reward_model) m
          WHERE v.criterion = $criterion
            AND (v.annotator = m.annotator OR (m.annotator = '' AND v.annotator_kind <> 'ai'))
            AND v.prompt_id IN (SELECT prompt_id FROM measured_prompts($reward_model)))
), scored AS (
    SELECT count(*) AS responses, any_value(criterion) AS criterion,
           string_agg(DISTINCT backend, ', ' ORDER BY backend) AS backends, count(*) FILTER (cut) AS cut
    FROM model_scores($reward_model, $criterion)
)
SELECT m.run_id, m.annotator, m.splits_known, (SELECT count(*) FROM measured_prompts($reward_model)) AS prompts,
       j.pairs, j.tied, v.pairs - j.measured AS unscored, j.trained, s.criterion, s.backends, s.responses, s.cut
FROM model_run($reward_model) m, judged j, verdicts_of_measured v, scored s

-- name: criteria
SELECT v.criterion, count(*) AS verdicts
FROM verdicts v
WHERE v.prompt_id IN (SELECT prompt_id FROM measured_prompts($reward_model))
GROUP BY v.criterion
ORDER BY coalesce(list_position(
             (SELECT list_transform(string_split(r.config ->> '$.criterion', ','), lambda name: trim(name))
              FROM runs r, model_run($reward_model) m WHERE r.run_id = m.run_id), v.criterion), 1000),
         verdicts DESC, v.criterion

-- name: figures
WITH sums AS MATERIALIZED (
    SELECT prompt_id, figure, total, n FROM prompt_figures($reward_model, $criterion)
), {resampling.resampled}, measured AS (
    SELECT figure, sum(total) / sum(n) AS value, sum(n)::BIGINT AS n, count(*) AS prompts FROM sums GROUP BY figure
), balanced AS (   -- pairs where the longer response wins and pairs where it loses weigh alike
    SELECT replicate, 'length_balanced' AS figure, avg(value) AS value
    FROM resampled WHERE figure IN ('longer_wins', 'longer_loses') GROUP BY replicate HAVING count(*) = 2
    UNION ALL SELECT * FROM resampled
), estimates AS (
    SELECT m.*, {resampling.spread}
    FROM (SELECT *, prompts AS independent FROM measured
          UNION ALL
          SELECT 'length_balanced', avg(value), sum(n)::BIGINT, max(prompts), 4 / sum(1 / prompts)
          FROM measured WHERE figure IN ('longer_wins', 'longer_loses') HAVING count(*) = 2) m
    JOIN balanced r ON r.figure = m.figure
    GROUP BY ALL
), {resampling.widened}
SELECT figure, value, low, high, n, prompts FROM widened ORDER BY figure

-- name: unseen
WITH sums AS MATERIALIZED (
    SELECT prompt_id, figure, total, n FROM unseen_figures($reward_model, $criterion)
), {resampling.resampled}, estimates AS (
    SELECT m.*, {resampling.spread}
    FROM (SELECT figure, sum(total) / sum(n) AS value, sum(n)::BIGINT AS n, count(*) AS prompts, count(*) AS independent
          FROM sums GROUP BY figure) m
    JOIN resampled r ON r.figure = m.figure
    GROUP BY ALL
), {resampling.widened}
SELECT figure, value, low, high, n, prompts FROM widened ORDER BY figure

-- name: unseen_basis
WITH splits AS (
    SELECT split, avg(correct) AS accuracy FROM unseen_pairs($reward_model, $criterion) GROUP BY split
), bins AS (
    SELECT avg(greatest(probability, 1 - probability)) AS predicted,
           avg(if(probability > 0.5, 1, if(probability < 0.5, 0, 0.5))) AS observed, count(*) AS pairs
    FROM unseen_pairs($reward_model, $criterion)
    GROUP BY least(floor((greatest(probability, 1 - probability) - 0.5) * 20), 9)
)
SELECT count(*) AS splits, stddev_samp(accuracy) AS deviation,
       (SELECT sum(pairs * abs(predicted - observed)) / sum(pairs) FROM bins) AS calibration_error
FROM splits

-- name: by_criterion
SELECT $criterion AS criterion, (SELECT any_value(criterion) FROM model_scores($reward_model, $criterion)) AS scored_as,
       avg(correct) AS accuracy, avg(log_loss) AS log_loss, avg(longer) AS longer, count(*) AS pairs,
       count(DISTINCT prompt_id) AS prompts
FROM measured_pairs($reward_model, $criterion)

-- name: calibration
SELECT round(0.5 + bin / 20, 2) AS low, round(0.55 + bin / 20, 2) AS high, avg(confidence) AS predicted, avg(correct) AS observed,
       count(*) AS pairs
FROM (
    SELECT correct, greatest(probability, 1 - probability) AS confidence, least(floor((confidence - 0.5) * 20), 9)::INTEGER AS bin
    FROM measured_pairs($reward_model, $criterion)
)
GROUP BY bin
ORDER BY bin

-- name: annotators
SELECT annotator, annotator_kind, avg(correct) AS accuracy,
       avg(greatest(-difference, 0) + ln(1 + exp(-abs(difference)))) AS log_loss, count(correct) AS pairs,
       count(DISTINCT prompt_id) AS prompts, avg(others) AS with_others, count(others) AS with_others_pairs
FROM annotator_pairs($reward_model, $criterion)
WHERE verdict <> 0 AND correct IS NOT NULL
GROUP BY annotator, annotator_kind
ORDER BY pairs DESC, annotator

-- name: taus
SELECT count(tau) AS prompts, count(*) FILTER (tau IS NULL) AS undefined, avg(tau) AS mean,
       quantile_cont(tau, [0.1, 0.25, 0.5, 0.75, 0.9]) AS quantiles,
       list_transform(range(10), lambda b: len(list_filter(list(least(floor((tau + 1) * 5), 9)) FILTER (tau IS NOT NULL), lambda t: t = b))) AS counts
FROM prompt_taus($reward_model, $criterion)

-- name: length
WITH scored AS (
    SELECT s.score - avg(s.score) OVER prompt AS score, length(r.text) - avg(length(r.text)) OVER prompt AS characters
    FROM model_scores($reward_model, $criterion) s
    JOIN responses r ON r.response_id = s.response_id
    SEMI JOIN measured_prompts($reward_model) m ON m.prompt_id = s.prompt_id
    WINDOW prompt AS (PARTITION BY s.prompt_id)
)
SELECT corr(score, characters) AS correlation, count(*) AS responses FROM scored

-- name: length_rows
SELECT prompt_id, difference, ln((1 + length_better) / (1 + length_worse)) AS longer_by
FROM measured_pairs($reward_model, $criterion)
ORDER BY prompt_id, better_id, worse_id

-- name: wrong
SELECT p.prompt_id, q.text AS prompt, p.better_id, p.worse_id, p.score_better, p.score_worse, p.probability,
       p.votes_better, p.votes_worse, p.votes_tie, p.policy_better, p.policy_worse, p.length_better, p.length_worse
FROM measured_pairs($reward_model, $criterion) p
JOIN prompts q ON q.prompt_id = p.prompt_id
WHERE p.correct = 0
ORDER BY p.probability, p.prompt_id, p.better_id, p.worse_id
LIMIT $limit

-- name: learning_curve
SELECT m.step AS pairs,
       any_value(m.value) FILTER (m.name = 'curve/accuracy') AS accuracy,
       any_value(m.value) FILTER (m.name = 'curve/log_loss') AS log_loss
FROM metrics m
WHERE m.run_id = (SELECT run_id FROM model_run($reward_model)) AND m.name IN ('curve/accuracy', 'curve/log_loss')
GROUP BY m.step
ORDER BY m.step

-- name: pairwise
SELECT split_part(m.name, '/', 2) AS figure, arg_max(m.value, (m.step, m.seq)) AS value
FROM metrics m
WHERE m.run_id = (SELECT run_id FROM model_run($reward_model)) AND m.name LIKE 'pairwise/%'
GROUP BY ALL
ORDER BY figure

-- name: policies
WITH scored AS (
    SELECT policy, score, min(score) OVER () AS low, max(score) OVER () AS high FROM model_scores($reward_model, $criterion)
), binned AS (
    SELECT policy, score, if(high > low, least(floor((score - low) / (high - low) * 20), 19), 0) AS bin FROM scored
)
SELECT policy, count(*) AS responses, avg(score) AS mean, stddev_samp(score) AS deviation,
       quantile_cont(score, [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]) AS quantiles,
       list_transform(range(20), lambda b: len(list_filter(list(bin), lambda x: x = b))) AS counts
FROM binned
GROUP BY policy
ORDER BY mean DESC, policy

-- name: benchmarks
SELECT s.benchmark, s.split, s.criterion, s.backend, f.level, f.part, f.figure, f.value, f.low, f.high, f.n, f.prompts
FROM benchmark_summary s
JOIN benchmark_figures f USING (benchmark_id)
WHERE s.reward_model = $reward_model
ORDER BY s.measured_at DESC, s.benchmark_id, f.level, f.part, f.figure

-- name: pair
SELECT r.response_id, p.name AS policy, r.text, s.score, s.uncertainty
FROM responses r
JOIN policies p USING (policy_id)
LEFT JOIN model_scores($reward_model, $criterion) s ON s.response_id = r.response_id
WHERE r.response_id IN ($first, $second)
ORDER BY r.response_id = $second

-- name: pair_verdicts
SELECT annotator, annotator_kind, if(x = $first, verdict, -verdict) AS verdict
FROM verdicts
WHERE criterion = $criterion AND x = least($first, $second) AND y = greatest($first, $second)
ORDER BY annotator

-- name: verdicts_once
CREATE TEMP TABLE verdicts AS SELECT * FROM main.verdicts

-- name: no_pairs_once
CREATE TEMP TABLE pairs_once AS SELECT '' AS about, * FROM judged_pairs('', '') LIMIT 0

-- name: pairs_once
INSERT INTO pairs_once SELECT $criterion, * FROM judged_pairs($reward_model, $criterion)

-- name: judged_pairs_once
CREATE TEMP MACRO judged_pairs(reward_model, criterion) AS TABLE
SELECT * EXCLUDE (about) FROM pairs_once WHERE about = criterion
