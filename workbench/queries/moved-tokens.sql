-- On which tokens has a policy moved furthest from its reference?
SELECT token, avg(logprob - ref_logprob) AS shift, count(*) AS seen
FROM token_traces
WHERE run_id = $run
GROUP BY token
HAVING count(*) > 5
ORDER BY abs(shift) DESC
LIMIT 50;
