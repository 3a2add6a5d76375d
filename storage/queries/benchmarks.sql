-- name: add
INSERT INTO benchmarks (benchmark_id, name, reward_model_id, criterion, scored_as, backend, split, path, preset, mapping,
                        licence, origin, rows, left_out, seed, replicates)
VALUES ($benchmark_id, $name, $reward_model_id, $criterion, $scored_as, $backend, $split, $path, $preset, $mapping,
        $licence, $origin, $rows, $left_out, $seed, $replicates)

-- name: add_items
INSERT INTO benchmark_items SELECT * FROM arrived

-- name: add_responses
INSERT INTO benchmark_responses SELECT * FROM arrived

-- name: measure
-- Sums over each prompt, so that they can be resampled by prompt.  A section's figure is the mean of those of its subsets
-- by their weights, the mean that of the sections, or of all subsets where there are none.
INSERT INTO benchmark_figures
WITH results AS MATERIALIZED (
    SELECT * FROM benchmark_results WHERE benchmark_id = $benchmark_id
), sums AS MATERIALIZED (
    SELECT prompt_id, subset, 'accuracy' AS figure, sum(correct) AS total, count(*) AS n FROM results GROUP BY ALL
    UNION ALL SELECT prompt_id, subset, 'longer', sum(longer), count(*) FROM results GROUP BY ALL
    UNION ALL SELECT prompt_id, subset, 'over_longer', sum(correct - longer), count(*) FROM results GROUP BY ALL
    UNION ALL SELECT prompt_id, subset, 'chance', sum(chance), count(*) FROM results GROUP BY ALL
    UNION ALL SELECT prompt_id, subset, 'longer_wins', sum(correct), count(*) FROM results WHERE longer = 1 GROUP BY ALL
    UNION ALL SELECT prompt_id, subset, 'longer_loses', sum(correct), count(*) FROM results WHERE longer = 0 GROUP BY ALL
    UNION ALL SELECT prompt_id, subset, 'pairs', sum(correct), count(*) FROM benchmark_pairs
              WHERE benchmark_id = $benchmark_id GROUP BY ALL
), {resampling.draws}, replicates AS (   -- replicate -1 is the data
    SELECT * FROM draws
    UNION ALL SELECT -1, place, 1 FROM places
), by_subset AS MATERIALIZED (
    SELECT d.replicate, s.subset, s.figure, sum(s.total * d.times) AS total, sum(s.n * d.times) AS n
    FROM replicates d
    JOIN places p ON p.place = d.place
    JOIN sums s ON s.prompt_id = p.prompt_id
    GROUP BY ALL
), sections AS (
    SELECT unnest(from_json($sections, '[{"subset": "VARCHAR", "section": "VARCHAR", "weight": "DOUBLE"}]'), recursive := true)
), by_section AS (
    SELECT b.replicate, s.section, b.figure, sum(s.weight * b.total / b.n) / sum(s.weight) AS value, sum(b.n) AS n
    FROM by_subset b JOIN sections s ON s.subset = b.subset
    GROUP BY ALL
), levels AS (
    SELECT replicate, 'subset' AS level, subset AS part, figure, total / n AS value, n
    FROM by_subset WHERE subset <> ''
    UNION ALL SELECT replicate, 'section', section, figure, value, n FROM by_section
    UNION ALL SELECT replicate, 'all', '', figure, sum(total) / sum(n), sum(n) FROM by_subset GROUP BY ALL
    UNION ALL SELECT replicate, 'mean', '', figure, avg(value), sum(n) FROM by_section GROUP BY ALL
    UNION ALL SELECT replicate, 'mean', '', figure, avg(total / n), sum(n)
              FROM by_subset WHERE subset <> '' AND NOT EXISTS (SELECT 1 FROM by_section) GROUP BY ALL
), balanced AS (   -- comparisons that the longer response wins and those that it loses weigh alike
    SELECT * FROM levels
    UNION ALL
    SELECT replicate, level, part, 'length_balanced', avg(value), sum(n)
    FROM levels WHERE figure IN ('longer_wins', 'longer_loses') GROUP BY ALL HAVING count(*) = 2
), intervals AS (
    SELECT level, part, figure, quantile_cont(value, 0.025) AS low, quantile_cont(value, 0.975) AS high
    FROM balanced WHERE replicate >= 0 GROUP BY ALL
), parts AS (
    SELECT 'subset' AS level, subset AS part, prompt_id FROM results
    UNION ALL SELECT 'section', s.section, r.prompt_id FROM results r JOIN sections s ON s.subset = r.subset
    UNION ALL SELECT unnest(['all', 'mean']), '', prompt_id FROM results
), counted AS (
    SELECT level, part, count(DISTINCT prompt_id) AS prompts FROM parts GROUP BY ALL
)
SELECT $benchmark_id, b.level, b.part, b.figure, b.value, i.low, i.high, b.n::BIGINT, c.prompts
FROM balanced b
JOIN counted c ON c.level = b.level AND c.part = b.part
LEFT JOIN intervals i ON i.level = b.level AND i.part = b.part AND i.figure = b.figure
WHERE b.replicate = -1 AND (b.level <> 'mean' OR (SELECT count(DISTINCT part) FROM balanced WHERE level = 'subset') > 1)

-- name: list
SELECT benchmark_id, reward_model, benchmark, criterion, split, backend, preset, comparisons, prompts, learned, cut,
       left_out::VARCHAR, measured_at
FROM benchmark_summary
WHERE reward_model = $reward_model
  AND ($benchmark_id IS NULL OR benchmark_id = $benchmark_id)
ORDER BY measured_at DESC, benchmark_id

-- name: figures
SELECT level, part, figure, value, low, high, n, prompts
FROM benchmark_figures
WHERE benchmark_id = $benchmark_id
ORDER BY level, part, figure
