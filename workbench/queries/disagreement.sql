-- Over which prompts do annotators disagree most?
WITH votes AS (
    SELECT prompt_id, least(winner_id, loser_id) AS x, greatest(winner_id, loser_id) AS y,
           count(*) FILTER (winner_id < loser_id) AS one, count(*) FILTER (winner_id > loser_id) AS other
    FROM preference_pairs
    GROUP BY ALL
)
SELECT p.text, count(*) AS pairs, sum(least(one, other)) AS outvoted, sum(one + other) AS verdicts,
       outvoted / verdicts AS share
FROM votes
JOIN prompts p USING (prompt_id)
GROUP BY prompt_id, p.text
HAVING verdicts > pairs
ORDER BY share DESC, verdicts DESC
LIMIT 50;
