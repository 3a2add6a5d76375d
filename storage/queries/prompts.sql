-- name: list
WITH page AS (
    SELECT prompt_id, text, source, created_at, rowid AS position
    FROM prompts
    WHERE ($search = '' OR contains(lower(text), lower($search)) OR contains(lower(source), lower($search)))
      AND ($after IS NULL OR (created_at, rowid) > (SELECT (created_at, rowid) FROM prompts WHERE prompt_id = $after))
    ORDER BY created_at, position
    LIMIT $limit OFFSET $offset
), answered AS (
    SELECT prompt_id, count(*) AS responses FROM responses SEMI JOIN page USING (prompt_id) GROUP BY prompt_id
), judged AS (
    SELECT prompt_id, count(*) AS judgements FROM current_judgements SEMI JOIN page USING (prompt_id) GROUP BY prompt_id
)
SELECT p.prompt_id, p.text, p.source, coalesce(a.responses, 0), coalesce(j.judgements, 0)
FROM page p
LEFT JOIN answered a USING (prompt_id)
LEFT JOIN judged j USING (prompt_id)
ORDER BY p.created_at, p.position

-- name: count
SELECT count(*)
FROM prompts
WHERE $search = '' OR contains(lower(text), lower($search)) OR contains(lower(source), lower($search))

-- name: texts
SELECT prompt_id, text FROM prompts WHERE prompt_id IN (SELECT unnest($prompt_ids::VARCHAR[]))

-- name: messages
SELECT messages FROM prompts WHERE prompt_id = $prompt_id

-- name: add
INSERT INTO prompts (prompt_id, text, messages, source, metadata)
VALUES ($prompt_id, $text, $messages, $source, $metadata)
ON CONFLICT DO NOTHING

-- name: sources
SELECT source, count(*) FROM prompts GROUP BY source ORDER BY source NULLS LAST

-- name: counts
SELECT (SELECT count(*) FROM prompts), (SELECT count(*) FROM responses), (SELECT count(*) FROM current_judgements)

-- name: overview
SELECT (SELECT count(*) FROM prompts), (SELECT count(*) FROM responses), (SELECT count(*) FROM policies),
       (SELECT count(*) FROM annotators), (SELECT count(*) FROM current_judgements), (SELECT count(DISTINCT name) FROM artifacts WHERE kind = 'reward_model'),
       (SELECT count(*) FROM scores), (SELECT count(*) FROM runs), (SELECT count(*) FROM rollouts)
