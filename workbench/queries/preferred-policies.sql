-- Which policy do people prefer, and how sure is that?
SELECT policy_a, policy_b, prompts, rate, rate - 1.96 * standard_error AS low, rate + 1.96 * standard_error AS high
FROM win_rates
WHERE judged_by = 'human' AND criterion = 'overall'
ORDER BY rate DESC;
