-- name: state
-- What tells whether anything has been stored since: responses, judgements, the last of these.
SELECT (SELECT count(*) FROM responses), (SELECT count(*) FROM judgements), (SELECT max(rowid) FROM judgements)

-- name: judgement_at
SELECT judgement_id FROM judgements WHERE rowid = $row

-- name: judged_after
SELECT DISTINCT prompt_id FROM judgements
WHERE rowid > $row AND annotator_id = $annotator_id AND criterion = $criterion

-- name: prompts
-- How many prompts can be ranked: they have two different responses.
SELECT count(*)
FROM (SELECT prompt_id FROM responses GROUP BY prompt_id HAVING min(hash(text)) <> max(hash(text)))

-- name: pairs
-- How many pairs of different responses there are: all of a prompt but those with one text.
WITH texts AS (SELECT prompt_id, count(*) AS copies FROM responses GROUP BY prompt_id, hash(text)),
sizes AS (
    SELECT sum(copies)::BIGINT AS responses, sum(copies * (copies - 1) // 2)::BIGINT AS alike FROM texts GROUP BY prompt_id
)
SELECT coalesce(sum(responses * (responses - 1) // 2 - alike), 0)::BIGINT FROM sizes

-- name: done_prompts
-- Those of them of which the annotator has judged every response.  {of_prompts} narrows a table to some prompts.
WITH mine AS MATERIALIZED (
    SELECT judgement_id, prompt_id, annotator_id, criterion, kind FROM judgements {of_prompts}
), standing AS (
    SELECT j.judgement_id, j.prompt_id
    FROM mine j
    WHERE {judgements.own}
), seen AS (
    SELECT DISTINCT i.response_id FROM standing JOIN judgement_items i USING (judgement_id)
), theirs AS MATERIALIZED (
    SELECT prompt_id, response_id, text FROM responses {of_prompts}
)
SELECT r.prompt_id, 1
FROM theirs r
LEFT JOIN seen s USING (response_id)
WHERE r.prompt_id IN (SELECT prompt_id FROM standing)
GROUP BY r.prompt_id
HAVING min(hash(r.text)) <> max(hash(r.text)) AND count(*) = count(s.response_id)

-- name: done_pairs
-- How many of them the annotator has met in one judgement, by prompt.
WITH mine AS MATERIALIZED (
    SELECT judgement_id, prompt_id, annotator_id, criterion, kind FROM judgements {of_prompts}
), standing AS (
    SELECT j.judgement_id
    FROM mine j
    WHERE {judgements.own}
), met AS ({judgements.met_pairs}), theirs AS MATERIALIZED (
    SELECT prompt_id, response_id, text FROM responses {of_prompts}
)
SELECT a.prompt_id, count(*)
FROM met m
JOIN theirs a ON a.response_id = m.response_a
JOIN theirs b ON b.response_id = m.response_b
WHERE b.prompt_id = a.prompt_id AND hash(b.text) <> hash(a.text)
GROUP BY a.prompt_id

-- name: of_prompts
WHERE prompt_id IN (SELECT unnest($prompts::VARCHAR[]))
