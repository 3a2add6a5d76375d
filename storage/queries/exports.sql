-- name: pairs
SELECT p.messages::VARCHAR AS messages, w.text AS chosen, l.text AS rejected, q.annotator, wp.name AS chosen_policy,
       lp.name AS rejected_policy, q.criterion, q.rank_distance
FROM preference_pairs q
JOIN prompts p ON p.prompt_id = q.prompt_id
JOIN responses w ON w.response_id = q.winner_id
JOIN responses l ON l.response_id = q.loser_id
JOIN policies wp ON wp.policy_id = w.policy_id
JOIN policies lp ON lp.policy_id = l.policy_id
ORDER BY p.created_at, q.prompt_id, q.created_at, q.judgement_id, w.text, l.text


-- name: about
SELECT count(external_id) > 0, count(reference) > 0, count(source) > 0, count(split) > 0, count(subset) > 0
FROM prompts

-- name: tools
SELECT count(*) FROM prompts
WHERE regexp_matches(messages::VARCHAR,
                     '"(name|tool_calls|tool_call_id|function_call|reasoning_content|thinking)":')

-- name: rated_criteria
SELECT DISTINCT j.criterion
FROM current_judgements j JOIN judgement_items i USING (judgement_id)
WHERE i.rating IS NOT NULL
ORDER BY 1

-- name: licences
SELECT DISTINCT name, licence, origin FROM imports WHERE licence IS NOT NULL OR origin IS NOT NULL ORDER BY ALL

-- name: prompts
SELECT messages::VARCHAR AS messages, prompt_id, external_id AS id, reference, source, split, subset
FROM prompts
ORDER BY created_at, prompt_id

-- name: compared
WITH compared AS (
    SELECT judgement_id, prompt_id, annotator, criterion, created_at, winner_id AS one, loser_id AS other,
           false AS tied
    FROM preference_pairs
    UNION ALL
    SELECT judgement_id, prompt_id, annotator, criterion, created_at, response_a, response_b, true
    FROM preference_ties
)
SELECT p.messages::VARCHAR AS messages, p.external_id AS id, p.reference, p.source, p.split, p.subset,
       w.text AS chosen, l.text AS rejected, wp.name AS chosen_policy, lp.name AS rejected_policy,
       c.annotator, c.criterion, c.tied, c.one > c.other AS swapped, j.strength, j.seconds, j.note
FROM compared c
JOIN prompts p ON p.prompt_id = c.prompt_id
JOIN responses w ON w.response_id = c.one
JOIN responses l ON l.response_id = c.other
JOIN policies wp ON wp.policy_id = w.policy_id
JOIN policies lp ON lp.policy_id = l.policy_id
LEFT JOIN judgements j ON j.judgement_id = c.judgement_id AND j.kind = 'pair'
ORDER BY p.created_at, c.prompt_id, c.created_at, c.judgement_id, w.text, l.text, c.one, c.other

-- name: rated
SELECT p.messages::VARCHAR AS messages, p.prompt_id, p.external_id AS id, p.reference, p.source, p.split, p.subset,
       r.response_id, r.text AS response, y.name AS policy, j.annotator, j.criterion, i.rating
FROM current_judgements j
JOIN judgement_items i USING (judgement_id)
JOIN responses r USING (response_id)
JOIN policies y USING (policy_id)
JOIN prompts p ON p.prompt_id = j.prompt_id
WHERE i.rating IS NOT NULL
ORDER BY p.created_at, p.prompt_id, j.annotator, r.created_at, r.response_id, j.criterion, j.created_at,
         j.judgement_id

-- name: labelled
SELECT p.messages::VARCHAR AS messages, p.external_id AS id, p.reference, p.source, p.split, p.subset,
       r.text AS response, y.name AS policy, k.annotator, k.criterion, k.rank, k.rating,
       min(k.rank) OVER w AS best, max(k.rank) OVER w AS worst,
       k.kind = 'rating' AND bool_and(k.rating IN (0, 1)) OVER w AS labels
FROM rankings k
JOIN responses r USING (response_id)
JOIN policies y USING (policy_id)
JOIN prompts p ON p.prompt_id = k.prompt_id
WINDOW w AS (PARTITION BY k.judgement_id)
ORDER BY p.created_at, p.prompt_id, k.created_at, k.judgement_id, k.rank, r.response_id

-- name: solutions
SELECT any_value(p.messages)::VARCHAR AS messages, any_value(p.external_id) AS id, any_value(p.reference) AS reference,
       any_value(p.source) AS source, any_value(p.split) AS split, any_value(p.subset) AS subset,
       any_value(r.text) AS response, any_value(y.name) AS policy,
       list(s.text ORDER BY s.step) AS steps, list(s.label ORDER BY s.step) AS labels
FROM response_steps s
JOIN responses r USING (response_id)
JOIN policies y USING (policy_id)
JOIN prompts p USING (prompt_id)
GROUP BY s.response_id
ORDER BY any_value(p.created_at), any_value(p.prompt_id), s.response_id

-- name: tasks
WITH answers AS (
    SELECT r.prompt_id,
           list({'response_id': r.response_id, 'text': r.text, 'policy': y.name} ORDER BY r.created_at, r.response_id)
               AS responses
    FROM responses r
    JOIN policies y USING (policy_id)
    GROUP BY r.prompt_id
), judged AS (
    SELECT k.prompt_id, k.judgement_id, any_value(k.annotator) AS annotator, any_value(k.kind) AS kind,
           any_value(k.criterion) AS criterion, any_value(j.seconds) AS seconds, any_value(k.created_at) AS created_at,
           list({'response_id': k.response_id, 'rank': k.rank, 'rating': k.rating} ORDER BY k.rank, k.response_id)
               AS items
    FROM rankings k
    JOIN judgements j USING (judgement_id)
    GROUP BY k.prompt_id, k.judgement_id
), said AS (
    SELECT prompt_id,
           list({'annotator': annotator, 'kind': kind, 'criterion': criterion, 'seconds': seconds, 'items': items}
                ORDER BY created_at DESC, judgement_id) AS judgements
    FROM judged
    GROUP BY prompt_id
)
SELECT p.messages::VARCHAR AS messages, p.prompt_id, p.external_id AS id, p.reference, p.source, p.split, p.subset,
       a.responses, s.judgements
FROM prompts p
JOIN answers a USING (prompt_id)
LEFT JOIN said s USING (prompt_id)
ORDER BY p.created_at, p.prompt_id
