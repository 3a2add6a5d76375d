-- What the statements that resample by prompt share; it stands behind a table `sums` with a prompt_id.
-- places: each prompt's number.  draws: how often a replicate draws it.  resampled: each figure's value in each
-- replicate, where `sums` has figure, total and n too.

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
