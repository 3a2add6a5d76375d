-- name: win_rates
SELECT judged_by, judge, criterion, policy_a, policy_b, prompts, wins, ties, losses, rate, standard_error
FROM win_rates
ORDER BY judged_by, judge, criterion, policy_a, policy_b

-- name: total
-- What the rows of by_model or by_people come to; the sum is over prompts, of the share of pairs that a won, ties one half.
SELECT count(*), coalesce(sum(wins), 0)::BIGINT, coalesce(sum(ties), 0)::BIGINT, coalesce(sum(losses), 0)::BIGINT,
       coalesce(sum((wins + ties / 2) / (wins + ties + losses)), 0)
FROM ({compared}) AS compared(prompt_id, wins, ties, losses)

-- name: outcomes
-- Each prompt that both have answered, oldest first, with the share of pairs that a won; NULL where nobody has compared them.
SELECT q.prompt_id, (c.wins + c.ties / 2) / (c.wins + c.ties + c.losses)
FROM prompts q
LEFT JOIN ({compared}) AS c(prompt_id, wins, ties, losses) ON c.prompt_id = q.prompt_id
WHERE EXISTS (SELECT 1 FROM responses r JOIN policies p USING (policy_id) WHERE r.prompt_id = q.prompt_id AND p.name = $a)
  AND EXISTS (SELECT 1 FROM responses r JOIN policies p USING (policy_id) WHERE r.prompt_id = q.prompt_id AND p.name = $b)
ORDER BY q.created_at, q.rowid

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

-- name: verdicts_of_people
-- Those of the view policy_verdicts by kinds of annotators; lengths are read of responses that were judged alone.
WITH told AS MATERIALIZED (
    SELECT prompt_id, x, y, verdict, weight
    FROM pair_verdicts
    WHERE list_contains($judges::VARCHAR[], annotator_kind) AND criterion = $criterion
), judged AS MATERIALIZED (
    SELECT r.response_id, r.policy_id, p.name AS policy, greatest(1, length(r.text)) AS characters
    FROM responses r
    JOIN policies p USING (policy_id)
    WHERE r.response_id IN (SELECT x FROM told UNION SELECT y FROM told)
)
SELECT a.policy AS policy_a, b.policy AS policy_b, v.prompt_id, ((v.verdict + 1) / 2)::DOUBLE AS won,
       v.weight::DOUBLE AS weight, log2(a.characters / b.characters) AS doublings
FROM told v
JOIN judged a ON a.response_id = v.x
JOIN judged b ON b.response_id = v.y
WHERE a.policy_id <> b.policy_id
ORDER BY v.prompt_id, policy_a, policy_b

-- name: verdicts_of_models
-- Those of the view policy_verdicts by reward models: each response is read once, and not with each of its pairs.
WITH scored AS MATERIALIZED (
    SELECT s.reward_model_id, s.prompt_id, s.response_id, s.policy, s.score, r.policy_id,
           greatest(1, length(r.text)) AS characters,
           3.0 / (count(*) OVER (PARTITION BY s.reward_model_id, s.prompt_id) + 1) AS weight
    FROM response_scores s
    JOIN responses r USING (response_id)
    WHERE list_contains($judges::VARCHAR[], s.reward_model)
)
SELECT a.policy AS policy_a, b.policy AS policy_b, a.prompt_id, ((sign(a.score - b.score) + 1) / 2)::DOUBLE AS won,
       a.weight::DOUBLE AS weight, log2(a.characters / b.characters) AS doublings
FROM scored a
JOIN scored b ON b.reward_model_id = a.reward_model_id AND b.prompt_id = a.prompt_id AND b.response_id > a.response_id
WHERE a.policy_id <> b.policy_id
ORDER BY a.prompt_id, policy_a, policy_b

-- name: shares
-- Prompts on which policy a is compared with b, the worst of a first: the share of pairs that it won, by how much it scored less, and
-- what changed beside.
WITH ours AS MATERIALIZED (
    SELECT r.response_id, r.prompt_id, p.name AS policy, length(r.text) AS characters, (r.finish_reason = 'length')::INTEGER AS cut,
           s.score
    FROM responses r
    JOIN policies p USING (policy_id)
    LEFT JOIN response_scores s ON s.response_id = r.response_id AND s.reward_model = $reward_model
    WHERE p.name IN ($a, $b)
), verdicts AS (
    SELECT winner_id AS x, loser_id AS y, 1.0 AS won FROM preference_pairs
    WHERE $reward_model IS NULL AND criterion = 'overall' AND annotator_kind IN ('human', 'import')
    UNION ALL
    SELECT loser_id, winner_id, 0.0 FROM preference_pairs
    WHERE $reward_model IS NULL AND criterion = 'overall' AND annotator_kind IN ('human', 'import')
    UNION ALL
    SELECT response_a, response_b, 0.5 FROM preference_ties
    WHERE $reward_model IS NULL AND criterion = 'overall' AND annotator_kind IN ('human', 'import')
    UNION ALL
    SELECT response_b, response_a, 0.5 FROM preference_ties
    WHERE $reward_model IS NULL AND criterion = 'overall' AND annotator_kind IN ('human', 'import')
    UNION ALL
    SELECT x.response_id, y.response_id, CASE WHEN x.score > y.score THEN 1.0 WHEN x.score < y.score THEN 0.0 ELSE 0.5 END
    FROM ours x
    JOIN ours y ON y.prompt_id = x.prompt_id
    WHERE $reward_model IS NOT NULL AND x.policy = $a AND y.policy = $b AND x.score IS NOT NULL AND y.score IS NOT NULL
), shares AS (
    SELECT x.prompt_id, avg(v.won) AS share, count(*) AS pairs
    FROM verdicts v
    JOIN ours x ON x.response_id = v.x AND x.policy = $a
    JOIN ours y ON y.response_id = v.y AND y.policy = $b
    GROUP BY x.prompt_id
), means AS (
    SELECT prompt_id, policy, avg(score) AS score, avg(characters) AS characters, avg(cut) AS cut
    FROM ours
    GROUP BY ALL
)
SELECT s.prompt_id, q.text, q.source, s.share, s.pairs, x.score - y.score, x.characters, y.characters, x.cut, y.cut
FROM shares s
JOIN prompts q USING (prompt_id)
JOIN means x ON x.prompt_id = s.prompt_id AND x.policy = $a
JOIN means y ON y.prompt_id = s.prompt_id AND y.policy = $b
ORDER BY s.share, x.score - y.score, s.prompt_id
LIMIT $limit
