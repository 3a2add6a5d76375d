-- Is a reward model fond of length?
SELECT reward_model, count(*) AS responses, corr(score, length(text)) AS score_and_length
FROM response_scores
JOIN responses USING (response_id)
GROUP BY reward_model
ORDER BY abs(score_and_length) DESC;
