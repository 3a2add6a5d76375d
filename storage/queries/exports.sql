-- name: pairs
SELECT p.messages::VARCHAR AS messages, w.text AS chosen, l.text AS rejected, q.annotator, wp.name AS chosen_policy,
       lp.name AS rejected_policy, q.criterion, q.rank_distance
FROM preference_pairs q
JOIN prompts p ON p.prompt_id = q.prompt_id
JOIN responses w ON w.response_id = q.winner_id
JOIN responses l ON l.response_id = q.loser_id
JOIN policies wp ON wp.policy_id = w.policy_id
JOIN policies lp ON lp.policy_id = l.policy_id
ORDER BY p.created_at, q.prompt_id, q.created_at, q.judgement_id, w.text, l.text
