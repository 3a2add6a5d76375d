-- Which prompts has nobody judged yet, though they have responses to compare?
SELECT p.prompt_id, p.source, p.text, count(*) AS responses
FROM prompts p
JOIN responses r USING (prompt_id)
WHERE p.prompt_id NOT IN (SELECT prompt_id FROM current_judgements)
GROUP BY ALL
HAVING count(DISTINCT r.text) > 1
ORDER BY p.source, p.prompt_id
LIMIT 1000;
