-- What the statements that resample by prompt share; it stands behind a table `sums` with a prompt_id.
-- places: each prompt's number.  draws: how often a replicate draws it.

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
