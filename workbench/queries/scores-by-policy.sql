-- How are the scores of each policy's responses distributed?
SELECT reward_model, policy, count(*) AS responses, avg(score) AS mean, stddev_samp(score) AS deviation,
       quantile_cont(score, [0.05, 0.5, 0.95]) AS quantiles
FROM response_scores
GROUP BY ALL
ORDER BY reward_model, mean DESC;
