-- name: prompts
SELECT prompt_id, messages::VARCHAR AS messages
FROM prompts
WHERE ($source = '' OR source = $source) AND ($prompt_ids IS NULL OR list_contains($prompt_ids, prompt_id))
ORDER BY created_at, rowid
LIMIT $limit

-- name: rankings
SELECT k.judgement_id, k.annotator, k.annotator_kind, k.criterion, k.kind, k.prompt_id,
       p.messages::VARCHAR AS messages, k.response_id, r.text, k.rank, k.rating
FROM rankings k
JOIN prompts p USING (prompt_id)
JOIN responses r USING (response_id)
WHERE ($criteria IS NULL OR list_contains($criteria, k.criterion)) AND ($annotator = '' OR k.annotator = $annotator) AND ($source = '' OR p.source = $source)
ORDER BY p.created_at, k.prompt_id, k.created_at, k.judgement_id, k.rank, k.response_id

-- name: responses
SELECT r.response_id, r.prompt_id, p.messages::VARCHAR AS messages, r.text
FROM responses r
JOIN prompts p USING (prompt_id)
WHERE ($policy = '' OR r.policy_id = (SELECT policy_id FROM policies WHERE name = $policy))
  AND ($source = '' OR p.source = $source)
  AND ($unscored_by = '' OR NOT EXISTS (SELECT 1 FROM scores s
       WHERE s.response_id = r.response_id AND s.reward_model_id = $unscored_by
         AND starts_with(s.backend, $backend)))
ORDER BY CASE WHEN $shuffle THEN sha256(r.response_id) ELSE '' END, r.created_at, r.response_id
LIMIT $limit
