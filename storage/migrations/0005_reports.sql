-- What the report of a reward model is computed from.  The table macros take the name of a reward model and a
-- criterion: SELECT avg(correct) FROM measured_pairs('concise-rm', 'overall').

-- What one annotator says of two responses to a prompt, x before y by id: 1 x is better, -1 y is better, 0 a tie.
-- One who judged a pair more than once counts with the sign of the mean.
CREATE VIEW verdicts AS
SELECT prompt_id, criterion, annotator, annotator_kind, x, y, sign(avg(verdict))::INTEGER AS verdict
FROM (
    SELECT prompt_id, criterion, annotator, annotator_kind, least(winner_id, loser_id) AS x,
           greatest(winner_id, loser_id) AS y, if(winner_id < loser_id, 1, -1) AS verdict
    FROM preference_pairs
    UNION ALL
    SELECT prompt_id, criterion, annotator, annotator_kind, response_a, response_b, 0 FROM preference_ties
)
GROUP BY ALL;

-- A reward model's run, and whose judgements the run learned ('' everybody's).
CREATE MACRO model_run(reward_model) AS TABLE
SELECT m.reward_model_id, m.run_id, coalesce(r.config ->> '$.annotator', '') AS annotator,
       EXISTS (SELECT 1 FROM run_prompts s WHERE s.run_id = m.run_id AND s.split = 'heldout') AS splits_known
FROM reward_models m
LEFT JOIN runs r ON r.run_id = m.run_id
WHERE m.name = reward_model;

-- One score a response: of the criterion asked for where the model has it, else of its first.
CREATE MACRO model_scores(reward_model, about) AS TABLE
SELECT s.response_id, s.prompt_id, s.policy, s.criterion, s.score, s.uncertainty, s.backend
FROM criterion_scores s
WHERE s.reward_model_id IN (SELECT reward_model_id FROM model_run(reward_model))
QUALIFY row_number() OVER (PARTITION BY s.response_id ORDER BY s.criterion <> about, s.place, s.criterion) = 1;

-- Prompts on which a model is measured: those that its run held out, or all where the run has not told.
CREATE MACRO measured_prompts(reward_model) AS TABLE
SELECT p.prompt_id
FROM prompts p, model_run(reward_model) m
WHERE NOT m.splits_known
   OR EXISTS (SELECT 1 FROM run_prompts s WHERE s.run_id = m.run_id AND s.prompt_id = p.prompt_id AND s.split = 'heldout');

-- Every pair of responses that annotators have judged and the model has scored, by what most of them say: a verdict
-- that more annotators gave than either other one.  Where there is none, or it is a tie, tied is true and the order
-- means nothing.  correct, longer: 1 where the better response has the higher score, is the longer one; ties 1/2.
CREATE MACRO judged_pairs(reward_model, about) AS TABLE
WITH votes AS (
    SELECT v.prompt_id, v.x, v.y, count(*) AS annotators, count(*) FILTER (v.verdict = 1) AS for_x,
           count(*) FILTER (v.verdict = -1) AS for_y, count(*) FILTER (v.verdict = 0) AS for_tie
    FROM verdicts v, model_run(reward_model) m
    WHERE v.criterion = about AND (m.annotator = '' OR v.annotator = m.annotator)
    GROUP BY ALL
), settled AS (
    SELECT prompt_id, annotators, for_tie, for_y > for_x AS turned, greatest(for_x, for_y) AS votes_better,
           least(for_x, for_y) AS votes_worse, if(turned, y, x) AS better_id, if(turned, x, y) AS worse_id,
           for_x = for_y OR for_tie >= greatest(for_x, for_y) AS tied
    FROM votes
), scored AS (
    SELECT s.response_id, s.score, s.policy, length(r.text) AS characters
    FROM model_scores(reward_model, about) s
    JOIN responses r ON r.response_id = s.response_id
)
SELECT p.prompt_id, p.better_id, p.worse_id, p.tied, p.annotators, p.votes_better, p.votes_worse, p.for_tie AS votes_tie,
       b.score AS score_better, w.score AS score_worse, b.score - w.score AS difference,
       (sign(b.score - w.score) + 1) / 2 AS correct,
       b.characters AS length_better, w.characters AS length_worse,
       (sign(b.characters - w.characters) + 1) / 2 AS longer, b.policy AS policy_better, w.policy AS policy_worse,
       p.prompt_id IN (SELECT prompt_id FROM measured_prompts(reward_model)) AS measured,
       NOT m.splits_known OR EXISTS (SELECT 1 FROM run_prompts s
            WHERE s.run_id = m.run_id AND s.prompt_id = p.prompt_id AND s.split = 'train') AS trained
FROM settled p
JOIN scored b ON b.response_id = p.better_id
JOIN scored w ON w.response_id = p.worse_id, model_run(reward_model) m;

-- The pairs that a reward model is measured on: of measured prompts, not tied.  probability is the model's for the
-- better response, log_loss -ln of it.  policy: 1 where the better response is of the policy that won more often on the
-- trained pairs, 0 of the other one, 1/2 of one policy or of policies that won alike.  matched: lengths within 10 %.
-- longer_log_loss, policy_log_loss: of a baseline that puts what it knows as a probability, namely the share of the
-- trained pairs in which it was right, by Laplace's rule.
CREATE MACRO measured_pairs(reward_model, about) AS TABLE
WITH judged AS MATERIALIZED (
    SELECT * FROM judged_pairs(reward_model, about)
), sides AS (
    SELECT policy_better AS policy, if(tied, 0.5, 1.0) AS won FROM judged WHERE trained AND policy_better <> policy_worse
    UNION ALL
    SELECT policy_worse, if(tied, 0.5, 0.0) FROM judged WHERE trained AND policy_better <> policy_worse
), policies_won AS (
    SELECT policy, avg(won) AS share FROM sides GROUP BY policy
), pairs AS MATERIALIZED (
    SELECT j.*, coalesce((sign(b.share - w.share) + 1) / 2, 0.5) AS policy,
           greatest(-j.difference, 0) + ln(1 + exp(-abs(j.difference))) AS log_loss
    FROM judged j
    LEFT JOIN policies_won b ON b.policy = j.policy_better
    LEFT JOIN policies_won w ON w.policy = j.policy_worse
    WHERE NOT j.tied
), trained_shares AS (
    SELECT (count(*) FILTER (longer = 1) + 1) / (count(*) FILTER (longer <> 0.5) + 2) AS longer_share,
           (count(*) FILTER (policy = 1) + 1) / (count(*) FILTER (policy <> 0.5) + 2) AS policy_share
    FROM pairs WHERE trained
)
SELECT p.*, exp(-p.log_loss) AS probability,
       least(p.length_better, p.length_worse) >= 0.9 * greatest(p.length_better, p.length_worse) AS matched,
       CASE p.longer WHEN 1 THEN -ln(t.longer_share) WHEN 0 THEN -ln(1 - t.longer_share) ELSE ln(2) END AS longer_log_loss,
       CASE p.policy WHEN 1 THEN -ln(t.policy_share) WHEN 0 THEN -ln(1 - t.policy_share) ELSE ln(2) END AS policy_log_loss
FROM pairs p, trained_shares t
WHERE p.measured;

-- The model against each annotator's own verdicts on measured prompts, ties left out.  others: what most of the other
-- annotators say, 1 for the same, 0 for the opposite; NULL where they say nothing or tie.
CREATE MACRO annotator_pairs(reward_model, about) AS TABLE
WITH ours AS (
    SELECT v.* FROM verdicts v SEMI JOIN measured_prompts(reward_model) m ON m.prompt_id = v.prompt_id WHERE v.criterion = about
), all_votes AS (
    SELECT prompt_id, x, y, count(*) FILTER (verdict = 1) AS for_x, count(*) FILTER (verdict = -1) AS for_y,
           count(*) FILTER (verdict = 0) AS for_tie
    FROM ours GROUP BY ALL
), left_out AS (
    SELECT o.*, a.for_x - (o.verdict = 1)::INTEGER AS rest_x, a.for_y - (o.verdict = -1)::INTEGER AS rest_y,
           a.for_tie - (o.verdict = 0)::INTEGER AS rest_tie
    FROM ours o JOIN all_votes a ON a.prompt_id = o.prompt_id AND a.x = o.x AND a.y = o.y
), scored AS (
    SELECT response_id, score FROM model_scores(reward_model, about)
)
SELECT o.prompt_id, o.annotator, o.annotator_kind, o.x, o.y, o.verdict, (a.score - b.score) * o.verdict AS difference,
       (sign((a.score - b.score) * o.verdict) + 1) / 2 AS correct,
       CASE WHEN o.rest_x > o.rest_y AND o.rest_x > o.rest_tie THEN (1 + o.verdict) / 2
            WHEN o.rest_y > o.rest_x AND o.rest_y > o.rest_tie THEN (1 - o.verdict) / 2 END AS others
FROM left_out o
LEFT JOIN scored a ON a.response_id = o.x
LEFT JOIN scored b ON b.response_id = o.y;

-- Kendall's tau-b a prompt over its judged pairs; NULL where the people, or the scores, tie everywhere.
CREATE MACRO prompt_taus(reward_model, about) AS TABLE
WITH pairs AS (
    SELECT prompt_id, if(tied, 0, sign(difference)) AS agreed, NOT tied AS ordered, difference <> 0 AS told
    FROM judged_pairs(reward_model, about) WHERE measured
)
SELECT prompt_id, count(*) AS pairs,
       sum(agreed) / nullif(sqrt(count(*) FILTER (ordered) * count(*) FILTER (told)), 0) AS tau
FROM pairs
GROUP BY prompt_id;

-- Every share or mean of the report as sums over each prompt, so that it can be resampled by prompt: a figure is
-- sum(total) / sum(n).
CREATE MACRO prompt_figures(reward_model, about) AS TABLE
WITH pairs AS MATERIALIZED (
    SELECT * FROM measured_pairs(reward_model, about)
), people AS MATERIALIZED (
    SELECT prompt_id, x, y, annotator, verdict, others FROM annotator_pairs(reward_model, about)
)
SELECT prompt_id, 'accuracy' AS figure, sum(correct) AS total, count(*) AS n FROM pairs GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'log_loss', sum(log_loss), count(*) FROM pairs GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'longer', sum(longer), count(*) FROM pairs GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'longer_log_loss', sum(longer_log_loss), count(*) FROM pairs GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'policy', sum(policy), count(*) FROM pairs GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'policy_log_loss', sum(policy_log_loss), count(*) FROM pairs GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'over_longer', sum(correct - longer), count(*) FROM pairs GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'over_policy', sum(correct - policy), count(*) FROM pairs GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'longer_wins', sum(correct), count(*) FROM pairs WHERE longer = 1 GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'longer_loses', sum(correct), count(*) FROM pairs WHERE longer = 0 GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'length_matched', sum(correct), count(*) FROM pairs WHERE matched GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'tau', tau, 1 FROM prompt_taus(reward_model, about) WHERE tau IS NOT NULL
UNION ALL SELECT prompt_id, 'person', sum(others), count(others) FROM people WHERE others IS NOT NULL GROUP BY prompt_id
UNION ALL
SELECT a.prompt_id, 'agreement', sum(1 - abs(a.verdict - b.verdict) / 2), count(*)
FROM people a JOIN people b ON b.prompt_id = a.prompt_id AND b.x = a.x AND b.y = a.y AND b.annotator > a.annotator
GROUP BY a.prompt_id;
