-- name: prompts
SELECT prompt_id, messages::VARCHAR AS messages,
       CASE WHEN $heldout_by IS NULL THEN NULL::VARCHAR
            WHEN EXISTS (SELECT 1 FROM run_prompts r
                         WHERE r.prompt_id = prompts.prompt_id AND r.split = 'heldout' AND list_contains($heldout_by, r.run_id))
            THEN 'heldout' ELSE 'train' END AS split
FROM prompts
WHERE ($source = '' OR source = $source) AND ($prompt_ids IS NULL OR list_contains($prompt_ids, prompt_id))
ORDER BY created_at, rowid
LIMIT $limit

-- name: rankings
SELECT k.judgement_id, k.annotator, k.annotator_kind, k.criterion, k.kind, k.prompt_id,
       p.messages::VARCHAR AS messages, k.response_id, r.text, k.rank, k.rating, r.finish_reason,
       k.unordered, CASE WHEN k.annotator_kind <> 'import' THEN k.strength END AS strength
FROM rankings k
JOIN prompts p USING (prompt_id)
JOIN responses r USING (response_id)
WHERE ($criteria IS NULL OR list_contains($criteria, k.criterion)) AND ($annotator = '' OR k.annotator = $annotator) AND ($source = '' OR p.source = $source)
ORDER BY p.created_at, k.prompt_id, k.created_at, k.judgement_id, k.rank, k.response_id

-- name: responses
-- Chosen by their ids first, so that the texts of the others are not read.  An id is a hash: in its order nothing is
-- told of where a response comes from.
WITH chosen AS MATERIALIZED (
    SELECT r.response_id
    FROM responses r
    WHERE ($policy = '' OR r.policy_id = (SELECT policy_id FROM policies WHERE name = $policy))
      AND ($source = '' OR r.prompt_id IN (SELECT prompt_id FROM prompts WHERE source = $source))
      AND ($unscored_by = '' OR NOT EXISTS (SELECT 1 FROM scores s
           WHERE s.response_id = r.response_id AND s.reward_model_id = $unscored_by
             AND ($backend = '' OR s.backend = $backend)))
    ORDER BY CASE WHEN $shuffle THEN r.response_id ELSE '' END, r.created_at, r.response_id
    LIMIT $limit
)
SELECT r.response_id, r.prompt_id, p.messages::VARCHAR AS messages, r.text, r.finish_reason
FROM chosen c
JOIN responses r USING (response_id)
JOIN prompts p USING (prompt_id)
ORDER BY CASE WHEN $shuffle THEN r.response_id ELSE '' END, r.created_at, r.response_id

-- name: queue
WITH judged AS (
    SELECT prompt_id, count(*) AS times FROM current_judgements WHERE criterion = $criterion GROUP BY prompt_id
), open AS (
    SELECT r.prompt_id, count(*) AS responses, any_value(coalesce(j.times, 0)) AS times, hash(r.prompt_id) AS place
    FROM responses r
    LEFT JOIN judged j USING (prompt_id)
    GROUP BY r.prompt_id
    HAVING count(DISTINCT hash(r.text)) >= 2
), ordered AS MATERIALIZED (
    SELECT prompt_id, times, place, sum(responses) OVER (ORDER BY times, place, prompt_id) AS reached
    FROM open
    QUALIFY reached <= $limit
)
SELECT r.response_id, r.prompt_id, p.messages::VARCHAR AS messages, r.text
FROM ordered o
JOIN responses r USING (prompt_id)
JOIN prompts p USING (prompt_id)
ORDER BY o.times, o.place, r.prompt_id, r.created_at, r.response_id
