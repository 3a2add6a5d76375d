-- name: took
SELECT annotator, mode, prompt_id, seconds
FROM project_queues
WHERE project = $project AND judged_at IS NOT NULL AND NOT skipped AND seconds IS NOT NULL AND kind <> 'gold'
ORDER BY annotator, position

-- name: verdicts
SELECT annotator, mode, kind, prompt_id, response_a, response_b, verdict
FROM project_verdicts
WHERE project = $project
ORDER BY prompt_id, response_a, response_b, annotator, kind
