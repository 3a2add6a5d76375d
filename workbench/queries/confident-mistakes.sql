-- Where is a reward model surest and wrong?
SELECT p.text AS prompt, w.score - l.score AS margin, b.text AS preferred, o.text AS scored_higher
FROM preference_pairs j
JOIN response_scores w ON w.response_id = j.winner_id AND w.reward_model = $reward_model
JOIN response_scores l ON l.response_id = j.loser_id AND l.reward_model_id = w.reward_model_id
JOIN prompts p ON p.prompt_id = j.prompt_id
JOIN responses b ON b.response_id = j.winner_id
JOIN responses o ON o.response_id = j.loser_id
WHERE w.score < l.score
ORDER BY margin
LIMIT 50;
