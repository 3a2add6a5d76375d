-- name: entries
SELECT count(*) FROM assignments WHERE project_id = $project_id AND annotator_id = $annotator_id

-- name: package
-- What tells where a response comes from stays behind: its policy's name, run, settings and tokens.  A package is made
-- later than what is in it, and its rows are less full, so that a merge never lets them stand instead of the originals.
WITH moment AS (
    SELECT (now() AT TIME ZONE 'UTC')::TIMESTAMP AS now
), queue AS (
    SELECT assignment_id, project_id, annotator_id, position, 'label' AS kind, prompt_id, responses, mode, behind, days
    FROM assignments
    WHERE project_id = $project_id AND annotator_id = $annotator_id
), chosen AS (
    SELECT DISTINCT prompt_id, unnest(responses) AS response_id FROM queue
), of_project AS (
    SELECT project_id, name, mode, criterion, 1 AS overlap, created_at FROM projects WHERE project_id = $project_id
), of_version AS (
    SELECT $project_id AS project_id, 1 AS version, $source AS source, $guidelines AS guidelines, m.now AS applied_at
    FROM moment m
), of_prompts AS (
    SELECT p.prompt_id, p.text, p.messages, m.now AS created_at
    FROM prompts p
    SEMI JOIN chosen USING (prompt_id)
    CROSS JOIN moment m
), of_responses AS (
    SELECT r.response_id, r.prompt_id, r.policy_id, 0 AS sample_index, r.text, m.now AS created_at
    FROM responses r
    SEMI JOIN chosen USING (response_id)
    CROSS JOIN moment m
    ORDER BY sha256($annotator || r.response_id)
), of_policies AS (
    SELECT policy_id, 'hidden ' || policy_id AS name, any_value(created_at) AS created_at FROM of_responses GROUP BY policy_id
), of_annotators AS (
    SELECT $annotator_id AS annotator_id, $annotator AS name, 'human' AS kind, m.now AS created_at FROM moment m
), of_settings AS (
    SELECT $key AS key, $annotator AS value
    UNION ALL SELECT 'project', $project
)
SELECT x AS projects FROM of_project x
UNION ALL BY NAME SELECT x AS project_versions FROM of_version x
UNION ALL BY NAME SELECT x AS assignments FROM queue x
UNION ALL BY NAME SELECT x AS prompts FROM of_prompts x
UNION ALL BY NAME SELECT x AS responses FROM of_responses x
UNION ALL BY NAME SELECT x AS policies FROM of_policies x
UNION ALL BY NAME SELECT x AS annotators FROM of_annotators x
UNION ALL BY NAME SELECT x AS store_settings FROM of_settings x
