-- What the statements that resample by prompt share; it stands behind a table `sums` with a prompt_id.
-- places: each prompt's number.  draws: how often a replicate draws it.  resampled: each figure's value in each
-- replicate, where `sums` has figure, total and n too.  widened: intervals, see there.

-- name: draws
places AS (
    SELECT prompt_id, row_number() OVER (ORDER BY prompt_id) - 1 AS place, count(*) OVER () AS prompts
    FROM (SELECT DISTINCT prompt_id FROM sums)
), draws AS (      -- with replacement, by a hash that every machine computes alike
    SELECT replicate, place, count(*) AS times
    FROM (SELECT replicate, md5_number_lower($seed || '/' || replicate || '/' || place) % prompts AS place
          FROM places, range($replicates) r(replicate))
    GROUP BY ALL
)

-- name: resampled
{resampling.draws}, resampled AS (
    SELECT d.replicate, s.figure, sum(s.total * d.times) / sum(s.n * d.times) AS value
    FROM draws d
    JOIN places p ON p.place = d.place
    JOIN sums s ON s.prompt_id = p.prompt_id
    GROUP BY ALL
)

-- name: spread
-- Of the values `r.value` of a figure, one a replicate.
quantile_cont(r.value, 0.025) AS low, quantile_cont(r.value, 0.975) AS high, var_samp(r.value) AS variance

-- name: widened
-- Resamples of few prompts that agree have no width.  So an interval reaches at least as far as that of Agresti and Coull
-- (The American Statistician, 1998): two prompts more at each end of what the figure can be, and the variance that they have
-- together with the others, of which each resample's variance tells.  It stands behind a table `estimates` with figure, value,
-- low, high, variance (over the resamples) and independent (prompts that count alike).
bounded AS (
    SELECT *,
           CASE WHEN figure LIKE '%log_loss' OR figure = 'chance' THEN NULL
                WHEN figure LIKE 'over_%' OR figure IN ('tau', 'kappa') THEN -1 ELSE 0 END AS lowest,
           if(lowest IS NULL, NULL, 1) AS highest,
           (independent * value + 2 * (lowest + highest)) / (independent + 4) AS middle,
           1.96 / (independent + 4) * sqrt(independent ** 2 * coalesce(variance, 0) + independent * (value - middle) ** 2
                                           + 2 * (highest - middle) ** 2 + 2 * (lowest - middle) ** 2) AS reach
    FROM estimates
), widened AS (   -- least and greatest pass over NULL
    SELECT * REPLACE (least(low, greatest(lowest, middle - reach)) AS low, greatest(high, least(highest, middle + reach)) AS high)
    FROM bounded
)
