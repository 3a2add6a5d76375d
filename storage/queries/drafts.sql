-- name: keep
INSERT OR REPLACE INTO drafts (annotator_id, prompt_id, mode, content, updated_at)
VALUES ($annotator_id, $prompt_id, $mode, $content, now() AT TIME ZONE 'UTC')

-- name: drop
DELETE FROM drafts WHERE annotator_id = $annotator_id AND prompt_id = $prompt_id AND mode = $mode

-- name: of
SELECT prompt_id, mode, content::VARCHAR FROM drafts
WHERE annotator_id = $annotator_id AND prompt_id = $prompt_id AND mode = $mode

-- name: newest
SELECT d.prompt_id, d.mode, d.content::VARCHAR
FROM drafts d
JOIN prompts USING (prompt_id)
WHERE d.annotator_id = $annotator_id
ORDER BY d.updated_at DESC
LIMIT 1
