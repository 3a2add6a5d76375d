-- Proxies of a gold reward model by best of n and by policies that learn from them, each proxy as its head alone (plain) or
-- as a conservative ensemble: what the proxy thinks, what the gold model does, in standard deviations within a prompt from
-- the first policy's samples, beside the distance in nats, the length in tokens and how often the judge prefers it to the
-- first policy.  n: of best of n; step: of the policy.  0 labels is the gold model itself.
CREATE OR REPLACE VIEW gold_curves AS
WITH figures AS (
    SELECT run_id, split_part(name, '/', 2)::INTEGER AS labels, split_part(name, '/', 3)::INTEGER AS replicate,
           if(split_part(name, '/', 5) = 'rl', 'policy learning', 'best of n') AS method,
           coalesce(nullif(split_part(name, '/', 6), ''), 'plain') AS variant, split_part(name, '/', 4) AS figure,
           step, seq, "value"
    FROM metrics
    WHERE name LIKE 'gold\_curves/%' ESCAPE '\'
), together AS (
    SELECT run_id, labels, replicate, method, variant, step,
           arg_max("value", seq) FILTER (figure = 'kl') AS kl,
           arg_max("value", seq) FILTER (figure = 'proxy') AS proxy,
           arg_max("value", seq) FILTER (figure = 'gold') AS gold,
           arg_max("value", seq) FILTER (figure = 'length') AS length,
           arg_max("value", seq) FILTER (figure = 'wins') AS wins
    FROM figures
    GROUP BY ALL
), distances AS (
    SELECT *, if(method = 'best of n', ln(step) - (step - 1) / step, kl) AS distance FROM together
)
SELECT run_id, method, variant, labels, replicate, if(method = 'best of n', step, NULL) AS n,
       if(method = 'best of n', NULL, step) AS step, distance AS kl, sqrt(greatest(0, distance)) AS sqrt_kl, proxy, gold,
       length, wins
FROM distances;
