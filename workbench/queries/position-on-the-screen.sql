-- Does it matter where on the screen a response stood?
SELECT annotator, position, count(*) AS shown, avg(rank) AS mean_rank, avg((rank = 1)::INTEGER) AS chosen_best
FROM rankings
WHERE position IS NOT NULL
GROUP BY annotator, position
ORDER BY annotator, position;
