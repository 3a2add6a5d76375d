-- name: list
SELECT p.policy_id, p.name, p.model, parent.name, p.run_id,
       (SELECT count(*) FROM responses r WHERE r.policy_id = p.policy_id), p.created_at
FROM policies p
LEFT JOIN policies parent ON parent.policy_id = p.parent_id
WHERE $name IS NULL OR p.name = $name
ORDER BY p.created_at, p.name

-- name: add
INSERT INTO policies (policy_id, name, model, parent_id, run_id)
VALUES ($policy_id, $name, $model, $parent_id, $run_id)
ON CONFLICT DO NOTHING
