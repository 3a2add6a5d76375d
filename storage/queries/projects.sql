-- name: add
INSERT INTO projects (project_id, name, mode, criterion, overlap)
VALUES ($project_id, $name, $mode, $criterion, $overlap)
ON CONFLICT (project_id) DO UPDATE SET mode = $mode, criterion = $criterion, overlap = $overlap

-- name: list
SELECT p.name, p.mode, count(DISTINCT q.annotator), count(q.assignment_id), count(q.judged_at)
FROM projects p
LEFT JOIN project_queues q ON q.project = p.name
GROUP BY p.name, p.mode, p.created_at
ORDER BY p.created_at, p.name

-- name: version
SELECT version, source, guidelines, coalesce(folder, '')
FROM project_versions
WHERE project_id = $project_id
ORDER BY version DESC
LIMIT 1

-- name: add_version
INSERT INTO project_versions (project_id, version, source, guidelines, folder)
SELECT $project_id, coalesce(max(version), 0) + 1, $source, $guidelines, $folder
FROM project_versions
WHERE project_id = $project_id

-- name: entries
SELECT q.annotator, q.kind, q.prompt_id, q.responses, q.position, q.judged_at IS NOT NULL, s.mode
FROM project_queues q
JOIN assignments s USING (assignment_id)
WHERE q.project = $project
ORDER BY q.annotator, q.position

-- name: drop_open
DELETE FROM assignments
WHERE project_id = $project_id
  AND assignment_id NOT IN (SELECT assignment_id FROM project_queues WHERE project = $project AND judged_at IS NOT NULL)

-- name: load
INSERT INTO assignments (assignment_id, project_id, annotator_id, position, kind, prompt_id, responses, mode, behind, days)
SELECT assignment_id, project_id, annotator_id, "position", kind, prompt_id,
       from_json(responses, '["VARCHAR"]'), mode, behind, days
FROM arrived

-- name: forget_gold
DELETE FROM gold_answers WHERE project_id = $project_id

-- name: load_gold
INSERT INTO gold_answers (project_id, prompt_id, response_id, rank)
SELECT project_id, prompt_id, response_id, "rank" FROM arrived

-- name: prompts
-- A prompt a row with its different responses, the one that came first of each text.
WITH chosen AS (
    SELECT prompt_id, rowid AS place, created_at
    FROM prompts
    WHERE ($source IS NULL OR source = $source) AND ($split IS NULL OR split = $split)
      AND ($subset IS NULL OR subset = $subset)
      AND ($ids IS NULL OR prompt_id IN (SELECT unnest(from_json($ids, '["VARCHAR"]'))))
), texts AS (
    SELECT r.prompt_id, arg_min(r.response_id, (r.created_at, r.response_id)) AS response_id
    FROM responses r
    JOIN policies y USING (policy_id)
    WHERE r.prompt_id IN (SELECT prompt_id FROM chosen)
      AND ($policies IS NULL OR y.name IN (SELECT unnest(from_json($policies, '["VARCHAR"]'))))
    GROUP BY r.prompt_id, r.text
)
SELECT c.prompt_id, list(t.response_id ORDER BY t.response_id)
FROM chosen c
JOIN texts t USING (prompt_id)
GROUP BY c.prompt_id, c.created_at, c.place
HAVING count(*) >= 2
ORDER BY c.created_at, c.place

-- name: ranked_by
-- Prompts that an annotator has ranked, the last time counting: (prompt, response, rank).
WITH last AS (
    SELECT prompt_id, arg_max(judgement_id, (created_at, judgement_id)) AS judgement_id
    FROM current_judgements
    WHERE annotator = $annotator AND criterion = $criterion
    GROUP BY prompt_id
)
SELECT r.prompt_id, r.response_id, r.rank
FROM rankings r
JOIN last USING (judgement_id)
ORDER BY r.prompt_id, r.rank, r.response_id

-- name: waiting
SELECT s.assignment_id, s.kind, s.prompt_id, s.responses, s.mode
FROM assignments s
WHERE s.project_id = $project_id AND s.annotator_id = $annotator_id
  AND NOT EXISTS (
      SELECT 1
      FROM judgements j
      WHERE j.annotator_id = $annotator_id AND j.assignment_id = s.assignment_id AND {judgements.stands}
  )
  AND (s.behind IS NULL OR EXISTS (
      SELECT 1
      FROM judgements j
      WHERE j.annotator_id = $annotator_id AND j.assignment_id = s.behind AND {judgements.stands}
        AND j.created_at + to_microseconds((s.days * 86400e6)::BIGINT) <= now() AT TIME ZONE 'UTC'
  ))
ORDER BY s.position

-- name: resting
-- What does not wait yet, because what stands before it has not been answered for long enough.
SELECT count(*), min(b.judged_at + to_microseconds((q.days * 86400e6)::BIGINT))
FROM project_queues q
LEFT JOIN project_queues b ON b.assignment_id = q.behind
WHERE q.project = $project AND q.annotator = $annotator AND q.judged_at IS NULL AND q.behind IS NOT NULL
  AND (b.judged_at IS NULL OR b.judged_at + to_microseconds((q.days * 86400e6)::BIGINT) > now() AT TIME ZONE 'UTC')

-- name: is_open
SELECT NOT EXISTS (
    SELECT 1
    FROM judgements j
    WHERE j.prompt_id = $prompt_id AND j.assignment_id = $assignment_id AND {judgements.stands}
)

-- name: assignment
SELECT assignment_id, kind, prompt_id, responses, mode
FROM assignments
WHERE project_id = $project_id AND assignment_id = $assignment_id

-- name: progress
SELECT annotator, entries, done, skipped, left_over, seconds, seconds_each, seconds_left
FROM project_progress
WHERE project = $project AND ($annotator IS NULL OR annotator = $annotator)
ORDER BY annotator

-- name: today
SELECT count(*)
FROM judgements j
JOIN assignments s USING (assignment_id)
WHERE s.project_id = $project_id AND j.annotator_id = $annotator_id AND j.created_at >= $since
  AND j.kind NOT IN ('retraction')
  AND NOT EXISTS (SELECT 1 FROM judgements later WHERE later.supersedes = j.judgement_id)

-- name: checks
WITH checked AS (
    SELECT 'gold' AS what, annotator, pairs, agreed FROM project_gold WHERE project = $project
    UNION ALL
    SELECT 'repeat', annotator, pairs, agreed FROM project_repeats WHERE project = $project
)
SELECT annotator, what, count(*) AS questions, sum(pairs)::BIGINT AS pairs, sum(agreed)::BIGINT AS agreed
FROM checked
GROUP BY annotator, what
ORDER BY annotator, what

-- name: coverage
SELECT least(labels, wanted) AS labels, count(*) AS tasks
FROM project_coverage
WHERE project = $project
GROUP BY 1
ORDER BY 1
