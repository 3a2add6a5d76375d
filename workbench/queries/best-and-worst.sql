-- What does a reward model like best and least of each prompt's responses?
SELECT p.text AS prompt, max(s.score) AS highest, arg_max(r.text, s.score) AS best, min(s.score) AS lowest,
       arg_min(r.text, s.score) AS worst
FROM response_scores s
JOIN responses r USING (response_id)
JOIN prompts p ON p.prompt_id = s.prompt_id
WHERE s.reward_model = $reward_model
GROUP BY s.prompt_id, p.text
HAVING count(*) > 1
ORDER BY highest - lowest DESC
LIMIT 50;
