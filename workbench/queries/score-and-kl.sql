-- How do score and KL of every policy that learns go, step by step?
SELECT run_id, step, max(value) FILTER (name = 'policy/score') AS score, max(value) FILTER (name = 'policy/kl') AS kl,
       max(value) FILTER (name = 'policy/entropy') AS entropy
FROM metrics
WHERE name IN ('policy/score', 'policy/kl', 'policy/entropy')
GROUP BY ALL
ORDER BY run_id, step;
