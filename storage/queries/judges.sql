-- What a judge's run has written: two rows a judgement, one for each order.

-- name: rows
SELECT p.*, 'j' || substr(sha256($run_id || chr(31) || p.prompt_id || chr(31) || p.response_a || chr(31) || p.response_b
                                 || chr(31) || p.criterion), 1, 16) AS judgement_id
FROM read_parquet($path, file_row_number = true) p
JOIN responses a ON a.response_id = p.response_a AND a.prompt_id = p.prompt_id
JOIN responses b ON b.response_id = p.response_b AND b.prompt_id = p.prompt_id
WHERE p.file_row_number >= $first AND p.file_row_number < $end

-- name: annotators
INSERT INTO annotators (annotator_id, name, kind)
SELECT DISTINCT 'a' || substr(sha256(annotator), 1, 16), annotator, 'ai'
FROM read_parquet($path, file_row_number = true)
WHERE file_row_number >= $first AND file_row_number < $end
ON CONFLICT DO NOTHING

-- name: judgements
INSERT INTO judgements (judgement_id, prompt_id, annotator_id, kind, criterion, source)
SELECT DISTINCT judgement_id, prompt_id, 'a' || substr(sha256(annotator), 1, 16), 'pair', criterion, $run_id
FROM ({judges.rows})
ON CONFLICT DO NOTHING

-- name: items
INSERT INTO judgement_items (judgement_id, response_id, rank, position)
SELECT DISTINCT judgement_id, response_a, if(verdict < 0, 2, 1), 0 FROM ({judges.rows})
UNION
SELECT DISTINCT judgement_id, response_b, if(verdict > 0, 2, 1), 1 FROM ({judges.rows})
ON CONFLICT DO NOTHING

-- name: answers
INSERT INTO judge_answers (judgement_id, first_id, run_id, said, share, mass, answer, tokens_in, tokens_out, cost, seconds,
                           cached)
SELECT judgement_id, first_id, $run_id, said, share, mass, answer, tokens_in, tokens_out, cost, seconds, cached
FROM ({judges.rows})
ON CONFLICT DO NOTHING

-- name: listed
SELECT a.name, j.criterion, count(*) AS judgements, count(DISTINCT j.prompt_id) AS prompts
FROM current_judgements j
JOIN annotators a ON a.name = j.annotator
WHERE j.annotator_kind = 'ai'
GROUP BY ALL
ORDER BY ALL

-- name: figures
WITH sums AS MATERIALIZED (
    SELECT prompt_id, figure, total, n FROM judge_sums($judge, $criterion)
), {resampling.resampled}, measured AS (
    SELECT -1 AS replicate, figure, sum(total) / sum(n) AS value FROM sums GROUP BY figure
    UNION ALL SELECT * FROM resampled
), shares AS (
    SELECT replicate, any_value(value) FILTER (figure = 'agreement') AS agreement,
           (1 + any_value(value) FILTER (figure = 'judge_ties') * any_value(value) FILTER (figure = 'people_ties')) / 2 AS chance
    FROM measured GROUP BY replicate
), every AS (
    SELECT * FROM measured
    UNION ALL SELECT replicate, 'kappa', (agreement - chance) / (1 - chance) FROM shares WHERE chance < 1 AND agreement IS NOT NULL
), counted AS (
    SELECT figure, sum(n)::BIGINT AS n, count(*) AS prompts FROM sums GROUP BY figure
    UNION ALL SELECT 'kappa', sum(n)::BIGINT, count(*) FROM sums WHERE figure = 'agreement' HAVING count(*) > 0
), estimates AS (
    SELECT m.figure, m.value, {resampling.spread}, c.n, c.prompts, c.prompts AS independent
    FROM (FROM every WHERE replicate = -1 AND value IS NOT NULL) m
    JOIN counted c ON c.figure = m.figure
    LEFT JOIN every r ON r.figure = m.figure AND r.replicate >= 0
    GROUP BY ALL
), {resampling.widened}
SELECT figure, value, low, high, n, prompts FROM widened ORDER BY figure

-- name: confusion
SELECT people <> 0 AS decided, count(*) FILTER (judged = people AND judged <> 0) AS same,
       count(*) FILTER (judged = 0) AS tie, count(*) FILTER (judged <> 0 AND judged <> people) AS other
FROM judged_by_both
WHERE judge = $judge AND criterion = $criterion AND people IS NOT NULL
GROUP BY decided
ORDER BY decided DESC

-- name: contested
SELECT count(*) FROM judged_by_both WHERE judge = $judge AND criterion = $criterion AND people IS NULL

-- name: reliability
SELECT round(0.5 + bin / 10, 1) AS low, round(0.6 + bin / 10, 1) AS high, avg(confidence) AS predicted,
       avg(correct) AS observed, count(*) AS pairs
FROM (
    SELECT greatest(j.share, 1 - j.share) AS confidence,
           if(j.share = 0.5, 0.5, if((j.share > 0.5) = (b.people > 0), 1.0, 0.0)) AS correct,
           least(floor((confidence - 0.5) * 10), 4)::INTEGER AS bin
    FROM judge_pairs j
    JOIN judged_by_both b ON b.judge = j.annotator AND b.criterion = j.criterion AND b.x = j.x AND b.y = j.y
    WHERE j.annotator = $judge AND j.criterion = $criterion AND b.people <> 0 AND j.share IS NOT NULL
)
GROUP BY bin
ORDER BY bin

-- name: labels
-- How many standing judgements of each kind of annotator there are to learn from, and of each model by name.
SELECT annotator_kind, if(annotator_kind = 'ai', annotator, '') AS judge, count(*) AS judgements
FROM current_judgements
WHERE ($criteria IS NULL OR list_contains($criteria, criterion)) AND ($annotator = '' OR annotator = $annotator)
  AND ($source = '' OR prompt_id IN (SELECT prompt_id FROM prompts WHERE source = $source))
GROUP BY ALL
ORDER BY ALL
