-- name: drop
DROP TABLE IF EXISTS temp.stage_prompts;
DROP TABLE IF EXISTS temp.stage_responses;
DROP TABLE IF EXISTS temp.stage_steps;
DROP TABLE IF EXISTS temp.stage_items;
DROP TABLE IF EXISTS temp.stage_about;
DROP TABLE IF EXISTS temp.stage_first;
DROP TABLE IF EXISTS temp.stage_rows;
DROP TABLE IF EXISTS temp.stage_groups;
DROP TABLE IF EXISTS temp.stage_new

-- name: create
CREATE TEMP TABLE stage_prompts (
    n BIGINT, prompt_id VARCHAR, text VARCHAR, messages VARCHAR, source VARCHAR, metadata VARCHAR, external_id VARCHAR,
    reference VARCHAR, split VARCHAR, subset VARCHAR);
CREATE TEMP TABLE stage_responses (
    n BIGINT, response_id VARCHAR, prompt_id VARCHAR, policy_id VARCHAR, text VARCHAR, metadata VARCHAR);
CREATE TEMP TABLE stage_steps (response_id VARCHAR, step INTEGER, text VARCHAR, label DOUBLE);
CREATE TEMP TABLE stage_items (
    n BIGINT, judgement_id VARCHAR, response_id VARCHAR, rank INTEGER, rating DOUBLE, "position" INTEGER);
CREATE TEMP TABLE stage_about (
    n BIGINT, judgement_id VARCHAR, prompt_id VARCHAR, annotator_id VARCHAR, kind VARCHAR, criterion VARCHAR, strength DOUBLE,
    note VARCHAR, seconds DOUBLE, metadata VARCHAR);
CREATE TEMP TABLE stage_rows (
    n BIGINT, "group" VARCHAR, prompt_id VARCHAR, annotator_id VARCHAR, kind VARCHAR, criterion VARCHAR, response_id VARCHAR,
    rank DOUBLE, rating DOUBLE, strength DOUBLE, note VARCHAR, seconds DOUBLE)

-- name: join_groups
-- A judgement spread over rows gets the id of its content, as storage.ids makes it for one in a single row.  A response
-- that one annotator has judged twice and differently belongs to a first judgement and to a second one.  Ranks that
-- count from 0, or that are means, become ranks from 1.
CREATE OR REPLACE TEMP TABLE stage_groups AS
WITH told AS (
    SELECT "group", prompt_id, annotator_id, kind, criterion, response_id, rank, rating, min(n) AS n,
           max(strength) AS strength, string_agg(DISTINCT note, chr(10)) AS note, sum(seconds) AS seconds
    FROM stage_rows
    GROUP BY ALL
), times AS (
    SELECT *, row_number() OVER (PARTITION BY "group", response_id ORDER BY n) AS again FROM told
), ranked AS (
    SELECT * EXCLUDE (rank),
           CASE WHEN rank IS NULL THEN NULL
                WHEN bool_and(rank = floor(rank)) OVER whole THEN rank + greatest(1 - min(rank) OVER whole, 0)
                ELSE rank() OVER (PARTITION BY "group", again ORDER BY rank) END::INTEGER AS rank
    FROM times
    WINDOW whole AS (PARTITION BY "group", again)
), named AS (
    SELECT "group", again, min(n) AS n, any_value(prompt_id) AS prompt_id, any_value(annotator_id) AS annotator_id, any_value(kind) AS kind,
           any_value(criterion) AS criterion, max(strength) AS strength, string_agg(DISTINCT note, chr(10)) AS note,
           sum(seconds) AS seconds, count(*) AS items,
           string_agg(response_id || '=' || coalesce(rank::VARCHAR, rating::VARCHAR), chr(31) ORDER BY response_id) AS said
    FROM ranked
    GROUP BY "group", again
)
SELECT r.n, r.response_id, r.rank, r.rating, m.items, m.kind, m.prompt_id, m.annotator_id, m.criterion, m.strength, m.note, m.seconds, m.n AS first_n,
       'j' || substr(sha256(concat_ws(chr(31), m.prompt_id, m.annotator_id, m.kind, m.criterion, m.said)), 1, 16) AS judgement_id
FROM ranked r
JOIN named m USING ("group", again)

-- name: count_single
-- A rank says nothing alone; a rating does.
SELECT count(*) FROM stage_groups WHERE items = 1 AND kind = 'ranking'

-- name: settle_items
INSERT INTO stage_items (n, judgement_id, response_id, rank, rating, "position")
SELECT n, judgement_id, response_id, rank, rating, NULL
FROM stage_groups
WHERE items > 1 OR kind <> 'ranking'

-- name: settle_about
INSERT INTO stage_about (n, judgement_id, prompt_id, annotator_id, kind, criterion, strength, note, seconds)
SELECT DISTINCT first_n, judgement_id, prompt_id, annotator_id, kind, criterion, strength, note, seconds
FROM stage_groups
WHERE items > 1 OR kind <> 'ranking'

-- name: new_judgements
CREATE OR REPLACE TEMP TABLE stage_new AS
SELECT judgement_id, min(n) AS n FROM stage_about ANTI JOIN judgements USING (judgement_id) GROUP BY judgement_id

-- name: merge_policies
INSERT INTO policies (policy_id, name) SELECT unnest($ids::VARCHAR[]), unnest($names::VARCHAR[]) ON CONFLICT DO NOTHING

-- name: merge_annotators
INSERT INTO annotators (annotator_id, name, kind)
SELECT id, name, CASE WHEN starts_with(name, 'rule:') THEN 'rule' WHEN starts_with(name, 'ai:') THEN 'ai' ELSE 'import' END
FROM (SELECT unnest($ids::VARCHAR[]) AS id, unnest($names::VARCHAR[]) AS name)
ON CONFLICT DO NOTHING

-- name: merge_prompts
INSERT INTO prompts (prompt_id, text, messages, source, metadata, external_id, reference, split, subset)
SELECT prompt_id, text, messages, source, metadata, external_id, reference, split, subset
FROM stage_prompts
WHERE n > $after AND n <= $upto AND n IN (SELECT n FROM stage_first WHERE n > $after AND n <= $upto)
ORDER BY n

-- name: merge_responses
INSERT INTO responses (response_id, prompt_id, policy_id, text, source, metadata)
SELECT response_id, prompt_id, policy_id, text, $source, metadata
FROM stage_responses
WHERE n > $after AND n <= $upto AND n IN (SELECT n FROM stage_first WHERE n > $after AND n <= $upto)
ORDER BY response_id -- an index takes sorted keys in a third of the time

-- name: merge_steps
INSERT INTO response_steps (response_id, step, text, label)
SELECT response_id, step, text, label FROM stage_steps ON CONFLICT DO NOTHING

-- name: merge_items
INSERT INTO judgement_items (judgement_id, response_id, rank, rating, position)
SELECT judgement_id, response_id, min(rank), max(rating), min("position")
FROM stage_items
SEMI JOIN stage_new USING (judgement_id)
GROUP BY judgement_id, response_id
ORDER BY judgement_id, response_id

-- name: merge_judgements
INSERT INTO judgements (judgement_id, prompt_id, annotator_id, kind, criterion, source, strength, note, seconds, metadata)
SELECT a.judgement_id, a.prompt_id, a.annotator_id, a.kind, a.criterion, $source, a.strength, a.note, a.seconds, a.metadata
FROM stage_about a
JOIN stage_new f ON f.judgement_id = a.judgement_id AND f.n = a.n
ORDER BY a.judgement_id

-- name: count_judgements
SELECT count(DISTINCT judgement_id) FROM stage_about

-- name: first_prompts
-- ON CONFLICT would lose the order of the rows, so what is new is found first.
CREATE OR REPLACE TEMP TABLE stage_first AS
SELECT min(n) AS n FROM stage_prompts ANTI JOIN prompts USING (prompt_id) GROUP BY prompt_id

-- name: first_responses
CREATE OR REPLACE TEMP TABLE stage_first AS
SELECT min(n) AS n FROM stage_responses ANTI JOIN responses USING (response_id) GROUP BY response_id

-- name: record_import
INSERT INTO imports (import_id, name, path, preset, mapping, licence, origin, rows, left_out, columns, added)
VALUES ($import_id, $name, $path, $preset, $mapping, $licence, $origin, $rows, $left_out, $columns, $added)
