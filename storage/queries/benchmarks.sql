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
), by_prompt AS (   -- how many prompts that count alike would make a figure as sure
    SELECT subset, figure, count(DISTINCT prompt_id) AS independent FROM sums GROUP BY ALL
), of_sections AS (
    SELECT 'section' AS level, s.section AS part, p.figure, sum(s.weight) ** 2 / sum(s.weight ** 2 / p.independent) AS independent
    FROM by_prompt p JOIN sections s ON s.subset = p.subset GROUP BY ALL
), of_parts AS (
    SELECT 'subset' AS level, subset AS part, figure, independent FROM by_prompt WHERE subset <> ''
), of_mean AS (
    SELECT * FROM of_sections UNION ALL SELECT * FROM of_parts WHERE NOT EXISTS (SELECT 1 FROM of_sections)
), of_levels AS (
    SELECT * FROM of_parts
    UNION ALL SELECT * FROM of_sections
    UNION ALL SELECT 'all', '', figure, count(DISTINCT prompt_id) FROM sums GROUP BY ALL
    UNION ALL SELECT 'mean', '', figure, count(*) ** 2 / sum(1 / independent) FROM of_mean GROUP BY ALL
), sure AS (
    SELECT * FROM of_levels
    UNION ALL SELECT level, part, 'length_balanced', 4 / sum(1 / independent)
              FROM of_levels WHERE figure IN ('longer_wins', 'longer_loses') GROUP BY ALL
), parts AS (
    SELECT 'subset' AS level, subset AS part, prompt_id FROM results
    UNION ALL SELECT 'section', s.section, r.prompt_id FROM results r JOIN sections s ON s.subset = r.subset
    UNION ALL SELECT unnest(['all', 'mean']), '', prompt_id FROM results
), counted AS (
    SELECT level, part, count(DISTINCT prompt_id) AS prompts FROM parts GROUP BY ALL
), estimates AS (   -- subsets may share their prompts, which then count once
    SELECT b.level, b.part, b.figure, b.value, b.n, least(s.independent, c.prompts) AS independent, {resampling.spread}
    FROM balanced b
    JOIN sure s ON s.level = b.level AND s.part = b.part AND s.figure = b.figure
    JOIN counted c ON c.level = b.level AND c.part = b.part
    LEFT JOIN balanced r ON r.level = b.level AND r.part = b.part AND r.figure = b.figure AND r.replicate >= 0
    WHERE b.replicate = -1
    GROUP BY ALL
), {resampling.widened}
SELECT $benchmark_id, w.level, w.part, w.figure, w.value, w.low, w.high, w.n::BIGINT, c.prompts
FROM widened w
JOIN counted c ON c.level = w.level AND c.part = w.part
WHERE w.level <> 'mean' OR (SELECT count(DISTINCT part) FROM balanced WHERE level = 'subset') > 1

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
