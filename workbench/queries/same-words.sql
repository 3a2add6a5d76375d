-- Which responses were given more than once, and by whom?
SELECT r.text, count(*) AS times, count(DISTINCT r.prompt_id) AS prompts, list(DISTINCT p.name ORDER BY p.name) AS policies
FROM responses r
JOIN policies p USING (policy_id)
GROUP BY r.text
HAVING count(*) > 1
ORDER BY times DESC
LIMIT 50;
