-- Which policies run into the limit of length, and how long are their responses?
SELECT p.name AS policy, count(*) AS responses, avg((r.finish_reason = 'length')::INTEGER) AS cut_off,
       median(len(r.token_ids)) AS median_tokens, median(length(r.text)) AS median_characters
FROM responses r
JOIN policies p USING (policy_id)
GROUP BY p.name
ORDER BY cut_off DESC NULLS LAST;
