-- Texts that a reward model has read in part: longer than its limit, of the prompt the end, of the response the beginning.

-- TRUE where the score is of a part; NULL where whoever scored has not said.
ALTER TABLE scores ADD COLUMN cut BOOLEAN;

CREATE OR REPLACE VIEW criterion_scores AS
SELECT s.response_id, r.prompt_id, p.name AS policy, m.name AS reward_model, s.reward_model_id, s.criterion,
       s.score, s.uncertainty, s.backend, r.sample_index, s.run_id, s.scored_at,
       criterion_place(s.criterion, m.details) AS place, s.cut
FROM scores s
JOIN artifacts m ON m.artifact_id = s.reward_model_id
JOIN responses r USING (response_id)
JOIN policies p USING (policy_id)
QUALIFY row_number() OVER (
    PARTITION BY s.response_id, s.reward_model_id, s.criterion
    ORDER BY exactness(s.backend), s.scored_at DESC
) = 1;

CREATE OR REPLACE VIEW response_scores AS
SELECT response_id, prompt_id, policy, reward_model, reward_model_id, score, backend, sample_index, run_id, scored_at,
       criterion, uncertainty, cut
FROM criterion_scores
QUALIFY row_number() OVER (PARTITION BY response_id, reward_model_id ORDER BY place, criterion) = 1;

CREATE OR REPLACE MACRO model_scores(reward_model, about) AS TABLE
SELECT s.response_id, s.prompt_id, s.policy, s.criterion, s.score, s.uncertainty, s.backend, s.cut
FROM criterion_scores s
WHERE s.reward_model_id IN (SELECT reward_model_id FROM model_run(reward_model))
QUALIFY row_number() OVER (PARTITION BY s.response_id ORDER BY s.criterion <> about, s.place, s.criterion) = 1;
