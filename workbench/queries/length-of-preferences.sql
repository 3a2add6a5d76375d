-- How often does each annotator prefer the longer response?
SELECT p.annotator, count(*) AS pairs, avg((sign(length(w.text) - length(l.text)) + 1) / 2) AS longer_preferred
FROM preference_pairs p
JOIN responses w ON w.response_id = p.winner_id
JOIN responses l ON l.response_id = p.loser_id
GROUP BY p.annotator
ORDER BY longer_preferred DESC;
