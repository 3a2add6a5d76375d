-- Verdicts on a response of one policy and a response of another.  A judge is a reward model ('model'), or the annotators
-- of one kind ('human', 'import', …).  won: 1 where policy a's response is preferred, 0 where b's is, 1/2 for a tie; every
-- pair stands once.  doublings: log2 of the length of a's response over that of b's.  weight as in pair_verdicts.
CREATE VIEW policy_verdicts AS
WITH verdicts AS (
    SELECT annotator_kind AS judged_by, annotator_kind AS judge, criterion, prompt_id, x, y, (verdict + 1) / 2 AS won, weight
    FROM pair_verdicts
    UNION ALL
    SELECT 'model', a.reward_model, NULL, a.prompt_id, a.response_id, b.response_id, (sign(a.score - b.score) + 1) / 2,
           3.0 / (count(*) OVER (PARTITION BY a.reward_model_id, a.prompt_id, a.response_id) + 2)
    FROM response_scores a
    JOIN response_scores b ON b.prompt_id = a.prompt_id AND b.reward_model_id = a.reward_model_id AND b.response_id <> a.response_id
    QUALIFY a.response_id < b.response_id
)
SELECT v.judged_by, v.judge, v.criterion, v.prompt_id, p.name AS policy_a, q.name AS policy_b, v.won, v.weight,
       log2(greatest(1, length(a.text)) / greatest(1, length(b.text))) AS doublings
FROM verdicts v
JOIN responses a ON a.response_id = v.x
JOIN responses b ON b.response_id = v.y
JOIN policies p ON p.policy_id = a.policy_id
JOIN policies q ON q.policy_id = b.policy_id
WHERE p.policy_id <> q.policy_id;
