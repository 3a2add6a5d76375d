-- What a reward model's way of learning says of prompts that it has not seen: cross-validation repeated with prompts
-- dealt anew, a head fitted for each split on the other prompts alone.
CREATE TABLE unseen_margins (
    run_id     VARCHAR NOT NULL,
    split      INTEGER NOT NULL,                -- from 0; the prompt was held out of it
    criterion  VARCHAR NOT NULL,
    prompt_id  VARCHAR NOT NULL,
    response_a VARCHAR NOT NULL,
    response_b VARCHAR NOT NULL,
    margin     DOUBLE NOT NULL,                 -- score of a minus score of b
    PRIMARY KEY (run_id, criterion, split, response_a, response_b)
);

-- Every judged pair, not tied, in every split that held its prompt out; as in measured_pairs.
CREATE MACRO unseen_pairs(reward_model, about) AS TABLE
WITH pairs AS (
    SELECT u.split, j.prompt_id, j.better_id, j.worse_id, j.longer,
           if(u.response_a = j.better_id, u.margin, -u.margin) AS margin
    FROM unseen_margins u
    JOIN model_run(reward_model) m ON m.run_id = u.run_id
    JOIN judged_pairs(reward_model, about) j
      ON least(j.better_id, j.worse_id) = least(u.response_a, u.response_b)
     AND greatest(j.better_id, j.worse_id) = greatest(u.response_a, u.response_b)
    WHERE u.criterion = about AND NOT j.tied
)
SELECT *, (sign(margin) + 1) / 2 AS correct, greatest(-margin, 0) + ln(1 + exp(-abs(margin))) AS log_loss,
       exp(-greatest(-margin, 0) - ln(1 + exp(-abs(margin)))) AS probability
FROM pairs;

-- Means over splits as sums over each prompt, so that they can be resampled by prompt: a figure is sum(total) / sum(n).
CREATE MACRO unseen_figures(reward_model, about) AS TABLE
WITH pairs AS MATERIALIZED (
    SELECT * FROM unseen_pairs(reward_model, about)
)
SELECT prompt_id, 'accuracy' AS figure, sum(correct) AS total, count(*) AS n FROM pairs GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'log_loss', sum(log_loss), count(*) FROM pairs GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'longer', sum(longer), count(*) FROM pairs GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'over_longer', sum(correct - longer), count(*) FROM pairs GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'longer_wins', sum(correct), count(*) FROM pairs WHERE longer = 1 GROUP BY prompt_id
UNION ALL SELECT prompt_id, 'longer_loses', sum(correct), count(*) FROM pairs WHERE longer = 0 GROUP BY prompt_id;
