-- The views that a researcher starts from.  token_traces is made when the store opens, because it names the
-- folder of runs beside this file.

-- Judgements that stand: not superseded by an edit, not taken back, not a skip.
CREATE VIEW current_judgements AS
SELECT j.judgement_id, j.prompt_id, a.name AS annotator, a.kind AS annotator_kind, j.kind, j.criterion,
       j.flagged, j.note, j.seconds, j.source, j.created_at
FROM judgements j
JOIN annotators a USING (annotator_id)
WHERE j.kind NOT IN ('skip', 'retraction')
  AND NOT EXISTS (SELECT 1 FROM judgements later WHERE later.supersedes = j.judgement_id);

-- One row a judged response.  A rating ranks too: the highest rating is rank 1, equal ratings tie.
CREATE VIEW rankings AS
SELECT j.judgement_id, j.annotator, j.annotator_kind, j.kind, j.criterion, j.prompt_id, i.response_id,
       coalesce(i.rank,
                CASE WHEN i.rating IS NOT NULL
                     THEN rank() OVER (PARTITION BY j.prompt_id, j.judgement_id ORDER BY i.rating DESC NULLS LAST) END)::INTEGER AS rank,
       i.rating, i.position, j.created_at
FROM current_judgements j
JOIN judgement_items i USING (judgement_id)
WHERE i.rank IS NOT NULL OR i.rating IS NOT NULL;

-- Every pair that a standing judgement implies, the better response first.
CREATE VIEW preference_pairs AS
SELECT w.prompt_id, w.judgement_id, w.annotator, w.annotator_kind, w.criterion,
       w.response_id AS winner_id, l.response_id AS loser_id, l.rank - w.rank AS rank_distance, w.created_at
FROM rankings w
JOIN rankings l ON l.judgement_id = w.judgement_id AND l.rank > w.rank;

-- Pairs judged equal.  The responses that a best-of judgement did not choose were not compared with each other.
CREATE VIEW preference_ties AS
SELECT x.prompt_id, x.judgement_id, x.annotator, x.annotator_kind, x.criterion,
       x.response_id AS response_a, y.response_id AS response_b, x.created_at
FROM rankings x
JOIN rankings y ON y.judgement_id = x.judgement_id AND y.rank = x.rank AND y.response_id > x.response_id
WHERE x.kind <> 'best_of';

-- Reward models in use: of those with one name the newest, with its newest ONNX export.
CREATE VIEW reward_models AS
WITH newest AS (
    SELECT artifact_id, name, path, run_id, created_at
    FROM artifacts
    WHERE kind = 'reward_model'
    QUALIFY row_number() OVER (PARTITION BY name ORDER BY created_at DESC, artifact_id) = 1
), exports AS (
    SELECT parent_id, run_id, regexp_replace(any_value(path), '/[^/]*$', '') AS onnx_folder,
           list(name ORDER BY name) AS precisions
    FROM artifacts
    WHERE kind = 'onnx'
    GROUP BY parent_id, run_id
    QUALIFY row_number() OVER (PARTITION BY parent_id ORDER BY max(created_at) DESC, run_id) = 1
), heldout AS (
    SELECT run_id, arg_max(value, (step, seq)) FILTER (name = 'heldout/accuracy') AS accuracy,
           arg_max(value, (step, seq)) FILTER (name = 'heldout/log_loss') AS log_loss
    FROM metrics
    WHERE name IN ('heldout/accuracy', 'heldout/log_loss')
    GROUP BY run_id
)
SELECT n.artifact_id AS reward_model_id, n.name, n.path AS folder, n.run_id, e.onnx_folder,
       coalesce(e.precisions, []) AS precisions, h.accuracy, h.log_loss, n.created_at
FROM newest n
LEFT JOIN exports e ON e.parent_id = n.artifact_id
LEFT JOIN heldout h ON h.run_id = n.run_id;

-- How exact a backend's scores are, 1 the most.
CREATE MACRO exactness(backend) AS
    coalesce(list_position(['torch-float32', 'onnx-fp32', 'torch-bfloat16', 'onnx-int8'], backend), 9);

-- One row a response and reward model.  Where several backends have scored it, the most exact counts, so that
-- scores of two policies never differ because one was scored in int8.
CREATE VIEW response_scores AS
SELECT s.response_id, r.prompt_id, p.name AS policy, m.name AS reward_model, s.reward_model_id, s.score, s.backend,
       r.sample_index, s.run_id, s.scored_at
FROM scores s
JOIN artifacts m ON m.artifact_id = s.reward_model_id
JOIN responses r USING (response_id)
JOIN policies p USING (policy_id)
QUALIFY row_number() OVER (
    PARTITION BY s.response_id, s.reward_model_id
    ORDER BY exactness(s.backend), s.scored_at DESC
) = 1;

-- Policy against policy.  A judge is a reward model ('model'), or the annotators of one kind ('human', 'import', …).
-- rate is the mean over prompts of the share won there, a tie counting one half.
CREATE VIEW win_rates AS
WITH compared AS (
    SELECT annotator_kind AS judged_by, annotator_kind AS judge, criterion, prompt_id,
           winner_id AS response_a, loser_id AS response_b, 1.0 AS won
    FROM preference_pairs
    UNION ALL
    SELECT annotator_kind, annotator_kind, criterion, prompt_id, loser_id, winner_id, 0.0 FROM preference_pairs
    UNION ALL
    SELECT annotator_kind, annotator_kind, criterion, prompt_id, response_a, response_b, 0.5 FROM preference_ties
    UNION ALL
    SELECT annotator_kind, annotator_kind, criterion, prompt_id, response_b, response_a, 0.5 FROM preference_ties
), named AS (
    SELECT c.judged_by, c.judge, c.criterion, c.prompt_id, p.name AS policy_a, q.name AS policy_b, c.won
    FROM compared c
    JOIN responses a ON a.response_id = c.response_a
    JOIN responses b ON b.response_id = c.response_b
    JOIN policies p ON p.policy_id = a.policy_id
    JOIN policies q ON q.policy_id = b.policy_id
    UNION ALL
    SELECT 'model', a.reward_model, NULL, a.prompt_id, a.policy, b.policy,
           CASE WHEN a.score > b.score THEN 1.0 WHEN a.score < b.score THEN 0.0 ELSE 0.5 END
    FROM response_scores a
    JOIN response_scores b ON b.prompt_id = a.prompt_id AND b.reward_model_id = a.reward_model_id AND b.policy <> a.policy
), by_prompt AS (
    SELECT judged_by, judge, criterion, policy_a, policy_b, prompt_id, avg(won) AS share,
           count(*) FILTER (won = 1.0) AS wins, count(*) FILTER (won = 0.5) AS ties, count(*) FILTER (won = 0.0) AS losses
    FROM named
    WHERE policy_a <> policy_b
    GROUP BY ALL
)
SELECT judged_by, judge, criterion, policy_a, policy_b, count(*) AS prompts,
       sum(wins)::BIGINT AS wins, sum(ties)::BIGINT AS ties, sum(losses)::BIGINT AS losses,
       avg(share) AS rate, stddev_samp(share) / sqrt(count(*)) AS standard_error
FROM by_prompt
GROUP BY ALL;

-- Pairs of responses that two annotators have both judged.  agreement is 1 for the same verdict, 1/2 where exactly
-- one of them said tie.  kappa is Cohen's with those weights; which response of a pair comes first means nothing, so
-- chance is (1 + t_a·t_b) / 2 where t is an annotator's share of ties.
CREATE VIEW annotator_agreement AS
WITH verdicts AS (
    SELECT annotator, criterion, least(winner_id, loser_id) AS x, greatest(winner_id, loser_id) AS y,
           CASE WHEN winner_id < loser_id THEN 1.0 ELSE -1.0 END AS verdict
    FROM preference_pairs
    UNION ALL
    SELECT annotator, criterion, response_a, response_b, 0.0 FROM preference_ties
), settled AS (                                 -- one who judged a pair more than once counts with the sign of the mean
    SELECT annotator, criterion, x, y, sign(avg(verdict)) AS verdict FROM verdicts GROUP BY ALL
), agreed AS (
    SELECT a.annotator AS annotator_a, b.annotator AS annotator_b, a.criterion, count(*) AS pairs,
           avg(1 - abs(a.verdict - b.verdict) / 2) AS agreement,
           avg((a.verdict = 0)::INTEGER) AS ties_a, avg((b.verdict = 0)::INTEGER) AS ties_b
    FROM settled a
    JOIN settled b ON b.criterion = a.criterion AND b.x = a.x AND b.y = a.y AND b.annotator > a.annotator
    GROUP BY ALL
)
SELECT annotator_a, annotator_b, criterion, pairs, agreement, ties_a, ties_b,
       CASE WHEN ties_a * ties_b < 1
            THEN (agreement - (1 + ties_a * ties_b) / 2) / (1 - (1 + ties_a * ties_b) / 2) END AS kappa
FROM agreed;

-- One row a run, with the last value of the metrics that people ask for first.
CREATE VIEW run_summary AS
WITH last AS (
    SELECT run_id, name, arg_max(value, (step, seq)) AS value, max(step) AS step FROM metrics GROUP BY run_id, name
), figures AS (
    SELECT run_id, max(step) AS last_step,
           any_value(value) FILTER (name = 'train/loss') AS loss,
           any_value(value) FILTER (name = 'heldout/accuracy') AS heldout_accuracy,
           any_value(value) FILTER (name = 'heldout/log_loss') AS heldout_log_loss,
           any_value(value) FILTER (name = 'ppo/score') AS score,
           any_value(value) FILTER (name = 'ppo/kl') AS kl,
           any_value(value) FILTER (name = 'ppo/entropy') AS entropy,
           any_value(value) FILTER (name = 'ppo/length') AS length
    FROM last
    GROUP BY run_id
)
SELECT r.run_id, r.kind, coalesce(r.config ->> '$.name', r.config ->> '$.reward_model', r.config ->> '$.policy') AS name,
       r.status, r.device, r.created_at, r.started_at, r.ended_at,
       date_diff('millisecond', r.started_at, r.ended_at) / 1000 AS seconds,
       f.last_step, f.loss, f.heldout_accuracy, f.heldout_log_loss, f.score, f.kl, f.entropy, f.length,
       (SELECT count(*) FROM responses x WHERE x.run_id = r.run_id) AS responses,
       (SELECT count(*) FROM rollouts x WHERE x.run_id = r.run_id) AS rollouts,
       (SELECT count(*) FROM scores x WHERE x.run_id = r.run_id) AS scores,
       r.data_hash, r.reason
FROM runs r
LEFT JOIN figures f ON f.run_id = r.run_id;
