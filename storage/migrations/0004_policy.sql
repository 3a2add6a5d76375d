-- What policy learning leaves behind beyond 0001: the components of a reward, and the way to over-optimisation.

-- {"name of the component": its score, …} as the scorers gave them, before weights; NULL where there is one scorer.
ALTER TABLE rollouts ADD COLUMN components JSON;

-- One row a response and component of its reward.
CREATE VIEW rollout_components AS
SELECT r.run_id, r.step, r.prompt_id, r.sample_index, c.key AS component, TRY_CAST(c.value ->> '$' AS DOUBLE) AS score
FROM rollouts r, json_each(r.components) c;

-- Proxy and gold score against the distance from the reference policy, one row a step of policy learning, or a number
-- of samples n of best-of-n.  kl is in nats a response: measured while a policy learns, for best-of-n the bound
-- ln n − (n−1)/n.  gold is NULL at steps where the held-out scorer was not asked.
CREATE VIEW overoptimisation AS
WITH last AS (
    SELECT run_id, step, name, arg_max(value, seq) AS value
    FROM metrics
    WHERE name IN ('ppo/score', 'ppo/gold', 'ppo/kl', 'bon/proxy', 'bon/gold', 'bon/kl')
    GROUP BY ALL
), points AS (
    SELECT run_id, split_part(name, '/', 1) AS family, step,
           any_value(value) FILTER (name IN ('ppo/kl', 'bon/kl')) AS kl,
           any_value(value) FILTER (name IN ('ppo/score', 'bon/proxy')) AS proxy,
           any_value(value) FILTER (name IN ('ppo/gold', 'bon/gold')) AS gold
    FROM last
    GROUP BY ALL
)
SELECT p.run_id, r.kind, CASE p.family WHEN 'bon' THEN 'best of n' ELSE 'policy learning' END AS method, p.step,
       p.kl, sqrt(greatest(p.kl, 0)) AS sqrt_kl, p.proxy, p.gold
FROM points p
JOIN runs r USING (run_id)
WHERE p.kl IS NOT NULL;
