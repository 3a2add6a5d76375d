-- Who says the same of a pair when it comes a second time?
WITH verdicts AS (
    SELECT annotator, criterion, judgement_id, created_at, least(winner_id, loser_id) AS x, greatest(winner_id, loser_id) AS y,
           winner_id < loser_id AS first
    FROM preference_pairs
)
SELECT a.annotator, a.criterion, count(*) AS pairs, avg((a.first = b.first)::INTEGER) AS same
FROM verdicts a
JOIN verdicts b ON b.annotator = a.annotator AND b.criterion = a.criterion AND b.x = a.x AND b.y = a.y
               AND (b.created_at, b.judgement_id) > (a.created_at, a.judgement_id)
GROUP BY ALL
ORDER BY same;
