-- What a reward model was trained on and what it thinks: the prompts kept from training, and scores by criterion
-- with their uncertainty.

-- Which prompts a run trained on and which it kept to be measured on.
CREATE TABLE run_prompts (
    run_id    VARCHAR NOT NULL,
    prompt_id VARCHAR NOT NULL,
    split     VARCHAR NOT NULL,                 -- train, heldout
    PRIMARY KEY (run_id, prompt_id)
);

-- A primary key cannot be altered, so the scores move to a table with the new one.
CREATE TEMP TABLE kept_scores AS SELECT * FROM scores;
DROP TABLE scores;
CREATE TABLE scores (
    response_id     VARCHAR NOT NULL,
    reward_model_id VARCHAR NOT NULL,           -- artifacts.artifact_id of kind reward_model
    score           DOUBLE NOT NULL,
    backend         VARCHAR NOT NULL,           -- torch-bfloat16, torch-float32, onnx-fp32, onnx-fp16, onnx-int8
    run_id          VARCHAR,
    scored_at       TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    criterion       VARCHAR NOT NULL DEFAULT 'overall',
    uncertainty     DOUBLE,                     -- standard deviation over the ensemble; NULL where there is none
    PRIMARY KEY (response_id, reward_model_id, backend, criterion)
);
INSERT INTO scores (response_id, reward_model_id, score, backend, run_id, scored_at)
SELECT response_id, reward_model_id, score, backend, run_id, scored_at FROM kept_scores;
DROP TABLE kept_scores;

-- How exact a backend's scores are, 1 the most.
CREATE OR REPLACE MACRO exactness(backend) AS
    coalesce(list_position(['torch-float32', 'onnx-fp32', 'onnx-fp16', 'torch-bfloat16', 'onnx-int8'], backend), 9);

-- The place of a criterion among those of its reward model (the JSON of artifacts.details), 1 the first.
-- Without a list 'overall' comes first and the others follow.
CREATE MACRO criterion_place(criterion, details) AS
    coalesce(list_position(try_cast(details -> '$.criteria' AS VARCHAR[]), criterion), if(criterion = 'overall', 1000, 1001));

-- One row a response, reward model and criterion.  Where several backends have scored it, the most exact counts, so
-- that scores of two policies never differ because one was scored in int8.  place is 1 for the model's first criterion.
CREATE VIEW criterion_scores AS
SELECT s.response_id, r.prompt_id, p.name AS policy, m.name AS reward_model, s.reward_model_id, s.criterion,
       s.score, s.uncertainty, s.backend, r.sample_index, s.run_id, s.scored_at,
       criterion_place(s.criterion, m.details) AS place
FROM scores s
JOIN artifacts m ON m.artifact_id = s.reward_model_id
JOIN responses r USING (response_id)
JOIN policies p USING (policy_id)
QUALIFY row_number() OVER (
    PARTITION BY s.response_id, s.reward_model_id, s.criterion
    ORDER BY exactness(s.backend), s.scored_at DESC
) = 1;

-- One row a response and reward model: the score of the model's first criterion.
CREATE OR REPLACE VIEW response_scores AS
SELECT response_id, prompt_id, policy, reward_model, reward_model_id, score, backend, sample_index, run_id, scored_at,
       criterion, uncertainty
FROM criterion_scores
QUALIFY row_number() OVER (PARTITION BY response_id, reward_model_id ORDER BY place, criterion) = 1;
