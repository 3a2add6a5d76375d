-- People are the measure: what models judge is held against them, never counted among them.

-- Every pair that a model and people have judged by one criterion, by what most people say of it.  people: 1 x is better,
-- -1 y, 0 a tie, NULL where no verdict has more of them than either other one.  longer: 1 where x has more characters,
-- -1 fewer.  People are annotators of kind human, and those of imported files.
CREATE VIEW judged_by_both AS
WITH votes AS (
    SELECT prompt_id, criterion, x, y, count(*) AS voters, count(*) FILTER (verdict = 1) AS for_x,
           count(*) FILTER (verdict = -1) AS for_y, count(*) FILTER (verdict = 0) AS for_tie
    FROM verdicts
    WHERE annotator_kind IN ('human', 'import')
    GROUP BY ALL
)
SELECT j.annotator AS judge, j.criterion, j.prompt_id, j.x, j.y, j.verdict AS judged, v.voters,
       CASE WHEN v.for_x > v.for_y AND v.for_x > v.for_tie THEN 1
            WHEN v.for_y > v.for_x AND v.for_y > v.for_tie THEN -1
            WHEN v.for_tie > greatest(v.for_x, v.for_y) THEN 0 END AS people,
       sign(length(a.text) - length(b.text))::INTEGER AS longer
FROM verdicts j
JOIN votes v ON v.x = j.x AND v.y = j.y AND v.criterion = j.criterion
JOIN responses a ON a.response_id = j.x
JOIN responses b ON b.response_id = j.y
WHERE j.annotator_kind = 'ai';

-- Everything that is said of a model as a judge, as sums over each prompt, so that it can be resampled by prompt: a figure
-- is sum(total) / sum(n).  agreement: 1 for the same verdict, 1/2 where exactly one said tie.  decided: of pairs where
-- neither says tie, those with the same verdict.  judge_ties, people_ties: shares of ties.  judge_longer, people_longer: how
-- often the longer response is preferred, where one is.  person: one person against most of the others on the same pairs.
-- orders_disagree, first: over everything the model has judged; first is the share of its preferences for what stood first.
CREATE MACRO judge_sums(about, measure) AS TABLE
WITH pairs AS MATERIALIZED (
    SELECT * FROM judged_by_both WHERE judge = about AND criterion = measure
), ours AS MATERIALIZED (
    SELECT * FROM judge_pairs WHERE annotator = about AND criterion = measure
), voices AS (
    SELECT v.prompt_id, v.x, v.y, v.verdict FROM verdicts v
    SEMI JOIN pairs p ON p.x = v.x AND p.y = v.y
    WHERE v.criterion = measure AND v.annotator_kind IN ('human', 'import')
), rest AS (
    SELECT prompt_id, verdict, count(*) FILTER (verdict = 1) OVER pair - (verdict = 1)::INTEGER AS for_x,
           count(*) FILTER (verdict = -1) OVER pair - (verdict = -1)::INTEGER AS for_y,
           count(*) FILTER (verdict = 0) OVER pair - (verdict = 0)::INTEGER AS for_tie
    FROM voices
    WINDOW pair AS (PARTITION BY x, y)
), held AS (
    SELECT prompt_id, verdict, CASE WHEN for_x > for_y AND for_x > for_tie THEN 1
                                    WHEN for_y > for_x AND for_y > for_tie THEN -1
                                    WHEN for_tie > greatest(for_x, for_y) THEN 0 END AS others
    FROM rest
)
SELECT prompt_id, 'agreement' AS figure, sum(1 - abs(judged - people) / 2) AS total, count(*) AS n
FROM pairs WHERE people IS NOT NULL GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'decided', count(*) FILTER (judged = people), count(*)
FROM pairs WHERE people <> 0 AND judged <> 0 GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'judge_ties', count(*) FILTER (judged = 0), count(*)
FROM pairs WHERE people IS NOT NULL GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'people_ties', count(*) FILTER (people = 0), count(*)
FROM pairs WHERE people IS NOT NULL GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'judge_longer', count(*) FILTER (judged = longer), count(*)
FROM pairs WHERE judged <> 0 AND longer <> 0 GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'people_longer', count(*) FILTER (people = longer), count(*)
FROM pairs WHERE people <> 0 AND longer <> 0 GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'person', sum(1 - abs(verdict - others) / 2), count(*)
FROM held WHERE others IS NOT NULL GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'orders_disagree', count(*) FILTER (NOT orders_agree), count(*)
FROM ours GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'first', count(*) FILTER (shown_first = 1) + count(*) FILTER (shown_second = -1),
       count(*) FILTER (shown_first <> 0) + count(*) FILTER (shown_second <> 0)
FROM ours GROUP BY prompt_id HAVING count(*) FILTER (shown_first <> 0) + count(*) FILTER (shown_second <> 0) > 0;

-- What a reward model is measured against is people, imports and rules; a model that judges counts where the run learned from
-- it alone.
CREATE OR REPLACE MACRO judged_pairs(reward_model, about) AS TABLE
WITH votes AS (
    SELECT v.prompt_id, v.x, v.y, count(*) AS annotators, count(*) FILTER (v.verdict = 1) AS for_x,
           count(*) FILTER (v.verdict = -1) AS for_y, count(*) FILTER (v.verdict = 0) AS for_tie
    FROM verdicts v, model_run(reward_model) m
    WHERE v.criterion = about AND (v.annotator = m.annotator OR (m.annotator = '' AND v.annotator_kind <> 'ai'))
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

CREATE OR REPLACE MACRO annotator_pairs(reward_model, about) AS TABLE
WITH ours AS (
    SELECT v.* FROM verdicts v SEMI JOIN measured_prompts(reward_model) m ON m.prompt_id = v.prompt_id
    WHERE v.criterion = about AND v.annotator_kind <> 'ai'
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
