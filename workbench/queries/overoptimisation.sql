-- Up to which distance from its reference did a policy really get better?
SELECT run_id, method, max(sqrt_kl) AS farthest, arg_max(sqrt_kl, gold) AS best_at, max(gold) AS best_gold,
       arg_max(gold, step) AS last_gold, arg_max(proxy, step) AS last_proxy
FROM overoptimisation
GROUP BY run_id, method
ORDER BY run_id;
