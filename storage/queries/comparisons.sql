-- name: win_rates
SELECT judged_by, judge, criterion, policy_a, policy_b, prompts, wins, ties, losses, rate, standard_error
FROM win_rates
ORDER BY judged_by, judge, criterion, policy_a, policy_b

-- name: by_model
WITH ours AS (
    SELECT policy, prompt_id, score FROM response_scores WHERE reward_model = $reward_model AND policy IN ($a, $b)
)
SELECT x.prompt_id, count(*) FILTER (x.score > y.score), count(*) FILTER (x.score = y.score),
       count(*) FILTER (x.score < y.score)
FROM ours x
JOIN ours y ON y.prompt_id = x.prompt_id
WHERE x.policy = $a AND y.policy = $b
GROUP BY x.prompt_id
ORDER BY x.prompt_id

-- name: by_people
WITH ours AS (
    SELECT r.response_id, p.name AS policy FROM responses r JOIN policies p USING (policy_id) WHERE p.name IN ($a, $b)
), verdicts AS (
    SELECT q.prompt_id, w.policy AS better, l.policy AS worse, false AS tie
    FROM preference_pairs q
    JOIN ours w ON w.response_id = q.winner_id
    JOIN ours l ON l.response_id = q.loser_id
    WHERE q.criterion = $criterion AND list_contains($kinds::VARCHAR[], q.annotator_kind)
    UNION ALL
    SELECT t.prompt_id, x.policy, y.policy, true
    FROM preference_ties t
    JOIN ours x ON x.response_id = t.response_a
    JOIN ours y ON y.response_id = t.response_b
    WHERE t.criterion = $criterion AND list_contains($kinds::VARCHAR[], t.annotator_kind)
)
SELECT prompt_id, count(*) FILTER (NOT tie AND better = $a), count(*) FILTER (tie),
       count(*) FILTER (NOT tie AND better = $b)
FROM verdicts
WHERE better <> worse
GROUP BY prompt_id
ORDER BY prompt_id

-- name: side_by_side
WITH ours AS (
    SELECT r.response_id, r.prompt_id, p.name AS policy, r.text,
           row_number() OVER (PARTITION BY r.prompt_id, p.name ORDER BY r.sample_index, r.created_at, r.response_id) AS place
    FROM responses r
    JOIN policies p USING (policy_id)
    WHERE p.name IN ($a, $b)
), scored AS (
    SELECT response_id, score FROM response_scores WHERE reward_model = $reward_model
)
SELECT x.prompt_id, q.text, x.response_id, x.text, s.score, y.response_id, y.text, t.score
FROM ours x
JOIN ours y ON y.prompt_id = x.prompt_id AND y.place = x.place AND y.policy = $b
JOIN prompts q ON q.prompt_id = x.prompt_id
LEFT JOIN scored s ON s.response_id = x.response_id
LEFT JOIN scored t ON t.response_id = y.response_id
WHERE x.policy = $a
ORDER BY q.created_at, q.rowid, x.place
LIMIT $limit OFFSET $offset

-- name: answered
SELECT count(DISTINCT r.prompt_id),
       (SELECT count(*) FROM response_scores WHERE policy = $policy AND reward_model = $reward_model)
FROM responses r JOIN policies p USING (policy_id)
WHERE p.name = $policy

-- name: common_prompts
SELECT q.prompt_id, q.text
FROM prompts q
WHERE EXISTS (SELECT 1 FROM responses r JOIN policies p USING (policy_id) WHERE r.prompt_id = q.prompt_id AND p.name = $a)
  AND EXISTS (SELECT 1 FROM responses r JOIN policies p USING (policy_id) WHERE r.prompt_id = q.prompt_id AND p.name = $b)
ORDER BY q.created_at, q.rowid
LIMIT $limit OFFSET $offset

-- name: policy_verdicts
SELECT policy_a, policy_b, prompt_id, won, weight, doublings
FROM policy_verdicts
WHERE list_contains($judges::VARCHAR[], judge) AND (judged_by = 'model') = $by_model
  AND ($by_model OR criterion = $criterion)
ORDER BY prompt_id, policy_a, policy_b
