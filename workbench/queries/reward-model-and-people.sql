-- How often does each reward model agree with people on the pairs they judged?
SELECT w.reward_model, count(*) AS pairs,
       avg((sign(w.score - l.score) + 1) / 2) AS agreement    -- equal scores count one half
FROM preference_pairs p
JOIN response_scores w ON w.response_id = p.winner_id
JOIN response_scores l ON l.response_id = p.loser_id AND l.reward_model_id = w.reward_model_id
WHERE p.annotator_kind = 'human'
GROUP BY w.reward_model
ORDER BY agreement DESC;
