-- name: drop
DROP VIEW IF EXISTS temp.staged_prompts;
DROP VIEW IF EXISTS temp.staged_responses;
DROP VIEW IF EXISTS temp.staged_about;
DROP TABLE IF EXISTS temp.stage_wide;
DROP TABLE IF EXISTS temp.stage_prompts;
DROP TABLE IF EXISTS temp.stage_told;
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
-- What each row of the file says of its prompt, as digits of it; behind a + the digits of a prompt's or a response's metadata.
CREATE TEMP TABLE stage_told (prompt_id VARCHAR, said VARCHAR);
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
    rank DOUBLE, rating DOUBLE, strength DOUBLE, note VARCHAR, seconds DOUBLE);
-- A prompt that is one turn, with its two answers or one and what is said of them.  The prompt has the number n, the
-- answers the next two, the judgements those after.
CREATE TEMP TABLE stage_wide (
    n BIGINT, prompt_id VARCHAR, prompt VARCHAR, external_id VARCHAR, reference VARCHAR, source VARCHAR, split VARCHAR,
    subset VARCHAR, prompt_metadata VARCHAR,
    response_a VARCHAR, policy_a VARCHAR, text_a VARCHAR, metadata_a VARCHAR,
    response_b VARCHAR, policy_b VARCHAR, text_b VARCHAR,
    judgement_id VARCHAR, annotator VARCHAR, criterion VARCHAR, rank_a INTEGER, rank_b INTEGER, rating_a DOUBLE,
    rating_b DOUBLE, strength DOUBLE, note VARCHAR, seconds DOUBLE, metadata VARCHAR,
    "group" VARCHAR, said STRUCT(kind VARCHAR, criterion VARCHAR, rank DOUBLE, rating DOUBLE)[]);
CREATE TEMP VIEW staged_prompts AS
SELECT n, prompt_id, text, messages, source, metadata, external_id, reference, split, subset FROM stage_prompts
UNION ALL
SELECT n, prompt_id, prompt, NULL, source, prompt_metadata, external_id, reference, split, subset FROM stage_wide;
CREATE TEMP VIEW staged_responses AS
SELECT n, response_id, prompt_id, policy_id, text, metadata FROM stage_responses
UNION ALL
SELECT n + 1, response_a, prompt_id, policy_a, text_a, metadata_a FROM stage_wide WHERE response_a IS NOT NULL
UNION ALL
SELECT n + 2, response_b, prompt_id, policy_b, text_b, NULL FROM stage_wide WHERE response_b IS NOT NULL;
CREATE TEMP VIEW staged_about AS
SELECT n, judgement_id, prompt_id, annotator_id, kind, criterion, strength, note, seconds, metadata FROM stage_about
UNION ALL
SELECT n + 3, judgement_id, prompt_id, annotator, 'pair', criterion, strength, note, seconds, metadata
FROM stage_wide WHERE judgement_id IS NOT NULL

-- name: stage_wide
-- The ids are those of storage.ids.
INSERT INTO stage_wide BY NAME
WITH asked AS (
    SELECT *, 'p' || substr(sha256('[{"role":"user","content":' || to_json(prompt)::VARCHAR || '}]'), 1, 16) AS prompt_id
    FROM arrived
), answered AS (
    SELECT *,
           'r' || substr(sha256(prompt_id || chr(31) || policy_a || chr(31) || text_a), 1, 16) AS response_a,
           'r' || substr(sha256(prompt_id || chr(31) || policy_b || chr(31) || text_b), 1, 16) AS response_b
    FROM asked
), said_of AS (
    SELECT *, response_a || '=' || rank_a || coalesce(':' || printf('%.17g', rating_a), '') AS said_a,
           response_b || '=' || rank_b || coalesce(':' || printf('%.17g', rating_b), '') AS said_b
    FROM answered
)
SELECT * EXCLUDE (said_a, said_b),
       'j' || substr(sha256(prompt_id || chr(31) || annotator || chr(31) || 'pair' || chr(31) || criterion || chr(31)
                            || if(said_a < said_b, said_a || chr(31) || said_b, said_b || chr(31) || said_a)
                            || coalesce(chr(31) || 'strength=' || printf('%.17g', strength), '')), 1, 16)
           AS judgement_id
FROM said_of

-- name: settle_wide
INSERT INTO stage_rows
SELECT n + 2 + place,
       concat_ws(chr(31), prompt_id, annotator, s.kind, coalesce(s.criterion, criterion), "group"),
       prompt_id, annotator, s.kind, coalesce(s.criterion, criterion), response_a, s.rank, s.rating, strength, note, seconds
FROM (SELECT * EXCLUDE (said), unnest(said) AS s, generate_subscripts(said, 1) AS place FROM stage_wide)

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
           string_agg(response_id || '=' || coalesce(rank || coalesce(':' || printf('%.17g', rating), ''), rating::VARCHAR), chr(31)
                      ORDER BY response_id) AS said
    FROM ranked
    GROUP BY "group", again
)
SELECT r.n, r.response_id, r.rank, r.rating, m.items, m.kind, m.prompt_id, m.annotator_id, m.criterion, m.strength, m.note, m.seconds, m.n AS first_n,
       'j' || substr(sha256(concat_ws(chr(31), m.prompt_id, m.annotator_id, m.kind, m.criterion, m.said)), 1, 16) AS judgement_id
FROM ranked r
JOIN named m USING ("group", again)

-- name: count_keys
-- Rows of the tables that a merge fills, each as often as it stands in an index.
SELECT (SELECT count(*) FROM staged_prompts) + 2 * (SELECT count(*) FROM staged_responses)
     + 2 * (SELECT count(*) FROM staged_about)
     + (SELECT count(*) FROM stage_items) + 2 * (SELECT count(*) FROM stage_wide)

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
SELECT judgement_id, min(n) AS n, count(*) AS times
FROM staged_about ANTI JOIN judgements USING (judgement_id) GROUP BY judgement_id

-- name: merge_policies
INSERT INTO policies (policy_id, name) SELECT unnest($ids::VARCHAR[]), unnest($names::VARCHAR[]) ON CONFLICT DO NOTHING

-- name: merge_annotators
INSERT INTO annotators (annotator_id, name, kind)
SELECT id, name, CASE WHEN starts_with(name, 'rule:') THEN 'rule' WHEN starts_with(name, 'ai:') THEN 'ai' ELSE 'import' END
FROM (SELECT unnest($ids::VARCHAR[]) AS id, unnest($names::VARCHAR[]) AS name)
ON CONFLICT DO NOTHING

-- name: merge_prompts
INSERT INTO prompts (prompt_id, text, messages, source, metadata, external_id, reference, split, subset)
SELECT prompt_id, text, coalesce(messages, '[{"role":"user","content":' || to_json(text)::VARCHAR || '}]'), source,
       metadata, external_id, reference, split, subset
FROM staged_prompts
WHERE n > $after AND n <= $upto AND n IN (SELECT n FROM stage_first WHERE n > $after AND n <= $upto)
ORDER BY n

-- name: merge_responses
INSERT INTO responses (response_id, prompt_id, policy_id, text, source, metadata)
-- Whole rows of the file stand between $after and $upto, whose numbers are looked at as they are: of n + 1 DuckDB cannot
-- tell which rows lie elsewhere, and would read every text for each portion.
WITH portion AS (
    SELECT n, response_id, prompt_id, policy_id, text, metadata
    FROM stage_responses
    WHERE n > $after AND n <= $upto
    UNION ALL
    SELECT n + 1, response_a, prompt_id, policy_a, text_a, metadata_a FROM stage_wide WHERE n > $after AND n <= $upto
    UNION ALL
    SELECT n + 2, response_b, prompt_id, policy_b, text_b, NULL FROM stage_wide WHERE n > $after AND n <= $upto
)
SELECT response_id, prompt_id, policy_id, text, $source, metadata
FROM portion
SEMI JOIN (SELECT n FROM stage_first WHERE n > $after AND n <= $upto + 2) USING (n)
ORDER BY response_id -- an index takes sorted keys in a third of the time

-- name: merge_steps
INSERT INTO response_steps (response_id, step, text, label)
SELECT response_id, step, text, label FROM stage_steps ON CONFLICT DO NOTHING

-- name: merge_items
INSERT INTO judgement_items (judgement_id, response_id, rank, rating, position)
WITH items AS (
    SELECT judgement_id, response_id, rank, rating, "position" FROM stage_items
    UNION ALL
    SELECT judgement_id, response_a, rank_a, rating_a, 0 FROM stage_wide WHERE judgement_id IS NOT NULL
    UNION ALL
    SELECT judgement_id, response_b, rank_b, rating_b, 1 FROM stage_wide WHERE judgement_id IS NOT NULL
)
SELECT judgement_id, response_id, rank, rating, "position"
FROM items
SEMI JOIN (FROM stage_new WHERE times = 1) USING (judgement_id)
UNION ALL
SELECT judgement_id, response_id, min(rank), max(rating), min("position")
FROM items
SEMI JOIN (FROM stage_new WHERE times > 1) USING (judgement_id)
GROUP BY judgement_id, response_id
ORDER BY judgement_id, response_id

-- name: merge_judgements
INSERT INTO judgements (judgement_id, prompt_id, annotator_id, kind, criterion, source, strength, note, seconds, metadata)
SELECT a.judgement_id, a.prompt_id, a.annotator_id, a.kind, a.criterion, $source, a.strength, a.note, a.seconds, a.metadata
FROM staged_about a
JOIN stage_new f ON f.judgement_id = a.judgement_id AND f.n = a.n
ORDER BY a.judgement_id

-- name: count_judgements
SELECT count(DISTINCT judgement_id) FROM staged_about

-- name: count_alike
-- Verdicts of one annotator on the same responses that say the same: one judgement.
SELECT coalesce(sum(times - 1), 0)::BIGINT FROM (SELECT count(*) AS times FROM staged_about GROUP BY judgement_id)

-- name: count_differing
-- Prompts of which the rows of the file say different things.
SELECT count(*) FROM (
    SELECT prompt_id FROM (
        SELECT prompt_id, said FROM stage_told
        UNION ALL
        SELECT prompt_id, substr(sha256(coalesce(source, '') || chr(31) || coalesce(external_id, '') || chr(31)
                                        || coalesce(reference, '') || chr(31) || coalesce(split, '') || chr(31)
                                        || coalesce(subset, '')), 1, 16)
        FROM stage_wide)
    WHERE prompt_id[1] = 'p'
    GROUP BY prompt_id
    HAVING min(said) <> max(said))

-- name: count_with_other_metadata
-- Prompts and responses whose rows hold different metadata.
SELECT count(*) FROM (
    SELECT of FROM (
        SELECT prompt_id AS of, said FROM stage_told WHERE prompt_id[1] = '+'
        UNION ALL SELECT '+' || prompt_id, substr(sha256(prompt_metadata), 1, 16) FROM stage_wide WHERE prompt_metadata IS NOT NULL
        UNION ALL SELECT '+' || response_a, substr(sha256(metadata_a), 1, 16) FROM stage_wide
                  WHERE metadata_a IS NOT NULL AND response_a IS NOT NULL)
    GROUP BY of
    HAVING min(said) <> max(said))

-- name: first_prompts
-- ON CONFLICT would lose the order of the rows, so what is new is found first.
CREATE OR REPLACE TEMP TABLE stage_first AS
SELECT min(n) AS n FROM staged_prompts ANTI JOIN prompts USING (prompt_id) GROUP BY prompt_id

-- name: first_responses
CREATE OR REPLACE TEMP TABLE stage_first AS
SELECT min(n) AS n FROM staged_responses ANTI JOIN responses USING (response_id) GROUP BY response_id

-- name: record_import
INSERT INTO imports (import_id, name, path, preset, mapping, licence, origin, rows, left_out, columns, added)
VALUES ($import_id, $name, $path, $preset, $mapping, $licence, $origin, $rows, $left_out, $columns, $added)
