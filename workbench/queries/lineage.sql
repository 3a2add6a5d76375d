-- From which run and model does each policy come, and what was made of it?
SELECT p.name AS policy, p.model, parent.name AS learned_from, r.kind, r.run_id, r.data_hash, r.ended_at,
       (SELECT count(*) FROM responses x WHERE x.policy_id = p.policy_id) AS responses
FROM policies p
LEFT JOIN policies parent ON parent.policy_id = p.parent_id
LEFT JOIN runs r ON r.run_id = p.run_id
ORDER BY r.ended_at NULLS FIRST, p.name;
