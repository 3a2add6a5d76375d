-- name: drop
DROP TABLE IF EXISTS temp.stage_prompts;
DROP TABLE IF EXISTS temp.stage_responses;
DROP TABLE IF EXISTS temp.stage_items;
DROP TABLE IF EXISTS temp.stage_first;
DROP TABLE IF EXISTS temp.stage_groups;
DROP TABLE IF EXISTS temp.stage_judgements

-- name: create
CREATE TEMP TABLE stage_prompts (
    n BIGINT, prompt_id VARCHAR, text VARCHAR, messages VARCHAR, source VARCHAR, metadata VARCHAR);
CREATE TEMP TABLE stage_responses (n BIGINT, response_id VARCHAR, prompt_id VARCHAR, policy_id VARCHAR, text VARCHAR);
CREATE TEMP TABLE stage_items (
    judgement_id VARCHAR, prompt_id VARCHAR, annotator_id VARCHAR, kind VARCHAR, response_id VARCHAR, rank INTEGER,
    rating DOUBLE, "position" INTEGER)

-- name: join_groups
-- A judgement spread over rows gets the id of its content, as storage.ids makes it for one in a single row.
CREATE OR REPLACE TEMP TABLE stage_groups AS
SELECT judgement_id AS "group",
       'j' || substr(sha256(concat_ws(chr(31), any_value(prompt_id), any_value(annotator_id), any_value(kind), $criterion,
           string_agg(response_id || '=' || coalesce(rating::VARCHAR, rank::VARCHAR), chr(31) ORDER BY response_id))), 1, 16)
           AS judgement_id,
       count(*) AS items
FROM (SELECT judgement_id, prompt_id, annotator_id, kind, response_id, min(rank) AS rank, max(rating) AS rating
      FROM stage_items WHERE starts_with(judgement_id, 'group ') GROUP BY ALL)
GROUP BY judgement_id

-- name: settle_judgements
CREATE OR REPLACE TEMP TABLE stage_judgements AS
SELECT coalesce(g.judgement_id, i.judgement_id) AS judgement_id, i.prompt_id, i.annotator_id, i.kind, i.response_id,
       min(i.rank) AS rank, max(i.rating) AS rating, min(i."position") AS "position"
FROM stage_items i
LEFT JOIN stage_groups g ON g."group" = i.judgement_id
WHERE g.items IS NULL OR g.items > 1
GROUP BY ALL

-- name: count_single
SELECT count(*) FROM stage_groups WHERE items = 1

-- name: merge_policies
INSERT INTO policies (policy_id, name) SELECT unnest($ids::VARCHAR[]), unnest($names::VARCHAR[]) ON CONFLICT DO NOTHING

-- name: merge_annotators
INSERT INTO annotators (annotator_id, name, kind)
SELECT id, name, CASE WHEN starts_with(name, 'rule:') THEN 'rule' WHEN starts_with(name, 'ai:') THEN 'ai' ELSE 'import' END
FROM (SELECT unnest($ids::VARCHAR[]) AS id, unnest($names::VARCHAR[]) AS name)
ON CONFLICT DO NOTHING

-- name: merge_prompts
INSERT INTO prompts (prompt_id, text, messages, source, metadata)
SELECT prompt_id, text, messages, source, metadata
FROM stage_prompts
WHERE n > $after AND n <= $upto AND n IN (SELECT n FROM stage_first WHERE n > $after AND n <= $upto)
ORDER BY n

-- name: merge_responses
INSERT INTO responses (response_id, prompt_id, policy_id, text, source)
SELECT response_id, prompt_id, policy_id, text, $source
FROM stage_responses
WHERE n > $after AND n <= $upto AND n IN (SELECT n FROM stage_first WHERE n > $after AND n <= $upto)
ORDER BY n

-- name: merge_items
INSERT INTO judgement_items (judgement_id, response_id, rank, rating, position)
SELECT judgement_id, response_id, rank, rating, "position"
FROM stage_judgements
ON CONFLICT DO NOTHING

-- name: merge_judgements
INSERT INTO judgements (judgement_id, prompt_id, annotator_id, kind, criterion, source)
SELECT judgement_id, any_value(prompt_id), any_value(annotator_id), any_value(kind), $criterion, $source
FROM stage_judgements
GROUP BY judgement_id
ON CONFLICT DO NOTHING

-- name: first_prompts
-- ON CONFLICT would lose the order of the rows, so what is new is found first.
CREATE OR REPLACE TEMP TABLE stage_first AS
SELECT min(n) AS n FROM stage_prompts ANTI JOIN prompts USING (prompt_id) GROUP BY prompt_id

-- name: first_responses
CREATE OR REPLACE TEMP TABLE stage_first AS
SELECT min(n) AS n FROM stage_responses ANTI JOIN responses USING (response_id) GROUP BY response_id
