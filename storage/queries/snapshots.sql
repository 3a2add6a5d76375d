-- name: prompts
SELECT prompt_id, messages::VARCHAR AS messages, reference, metadata::VARCHAR AS metadata,
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
WHERE ($criteria IS NULL OR list_contains($criteria, k.criterion)) AND ($annotator = '' OR k.annotator = $annotator)
  AND ($kinds IS NULL OR list_contains($kinds, k.annotator_kind) OR k.annotator = $annotator) AND ($source = '' OR p.source = $source)
  AND ($run_id = '' OR r.run_id = $run_id)
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
    SELECT prompt_id, count(*) AS times
    FROM current_judgements
    WHERE criterion = $criterion AND annotator_kind <> 'ai'
    GROUP BY prompt_id
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

-- name: pairs
WITH arms AS MATERIALIZED (
    SELECT response_id, prompt_id, arm, seed FROM experiment_responses WHERE experiment = $experiment
), apart AS MATERIALIZED (
    SELECT x.response_id AS response_a, y.response_id AS response_b
    FROM arms x
    JOIN arms y ON y.prompt_id = x.prompt_id AND y.seed = x.seed AND y.arm <> x.arm AND y.response_id > x.response_id
), chosen AS MATERIALIZED (
    SELECT prompt_id, messages, created_at, rowid AS place
    FROM prompts p
    WHERE ($source = '' OR source = $source) AND ($prompt_ids IS NULL OR list_contains($prompt_ids, prompt_id))
      AND ($experiment = '' OR prompt_id IN (SELECT prompt_id FROM arms))
      AND (SELECT count(DISTINCT hash(text)) FROM responses r WHERE r.prompt_id = p.prompt_id) >= 2
    ORDER BY created_at, rowid
    LIMIT $limit
), theirs AS MATERIALIZED (
    SELECT DISTINCT x, y FROM verdicts WHERE $judged_by_people AND annotator_kind IN ('human', 'import')
), own AS MATERIALIZED (
    SELECT x, y, list(DISTINCT criterion) AS criteria FROM verdicts WHERE annotator = $annotator GROUP BY x, y
), pairs AS MATERIALIZED (
    SELECT c.place, c.prompt_id, a.response_id AS response_a, b.response_id AS response_b
    FROM chosen c
    JOIN responses a ON a.prompt_id = c.prompt_id
    JOIN responses b ON b.prompt_id = c.prompt_id AND b.response_id > a.response_id AND b.text <> a.text
    WHERE (NOT $judged_by_people
           OR EXISTS (SELECT 1 FROM theirs t WHERE t.x = a.response_id AND t.y = b.response_id))
      AND ($experiment = ''
           OR EXISTS (SELECT 1 FROM apart t WHERE t.response_a = a.response_id AND t.response_b = b.response_id))
    QUALIFY row_number() OVER (
        PARTITION BY c.prompt_id ORDER BY md5(a.response_id || b.response_id || $seed::VARCHAR)
    ) <= $most OR $most = 0
)
SELECT p.prompt_id, c.messages::VARCHAR AS messages, p.response_a, a.text AS text_a, p.response_b, b.text AS text_b,
       coalesce(o.criteria, []) AS judged
FROM pairs p
JOIN chosen c USING (prompt_id)
JOIN responses a ON a.response_id = p.response_a
JOIN responses b ON b.response_id = p.response_b
LEFT JOIN own o ON o.x = p.response_a AND o.y = p.response_b
ORDER BY c.created_at, p.place, p.response_a, p.response_b

-- name: steps
SELECT any_value(l.prompt_id) AS prompt_id, any_value(p.messages)::VARCHAR AS messages, l.response_id,
       any_value(r.text) AS text, l.annotator, list(l.ends_at ORDER BY l.step) AS ends,
       list(l.label::INTEGER ORDER BY l.step) AS labels
FROM step_labels l
JOIN prompts p ON p.prompt_id = l.prompt_id
JOIN responses r ON r.response_id = l.response_id
WHERE ($annotator = '' OR l.annotator = $annotator) AND ($source = '' OR p.source = $source)
  AND ($kinds IS NULL OR list_contains($kinds, l.annotator_kind) OR l.annotator = $annotator)
GROUP BY l.response_id, l.annotator
ORDER BY any_value(l.prompt_id), l.response_id, l.annotator
