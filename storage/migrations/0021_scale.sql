-- A store of a million responses: what asks for the scores of few responses, or of one reward model, reads no others.

-- The scores of a response, without reading all.
CREATE INDEX scores_by_response ON scores (response_id);

-- As before.  DuckDB applies a filter before it ranks only where the filter is on a column of PARTITION BY, so the names
-- that people filter by stand there too; a response has one prompt and policy, a reward model one name, and nothing is
-- partitioned otherwise for it.
CREATE OR REPLACE VIEW criterion_scores AS
SELECT s.response_id, r.prompt_id, p.name AS policy, m.name AS reward_model, s.reward_model_id, s.criterion,
       s.score, s.uncertainty, s.backend, r.sample_index, s.run_id, s.scored_at,
       criterion_place(s.criterion, m.details) AS place, s.cut
FROM scores s
JOIN artifacts m ON m.artifact_id = s.reward_model_id
JOIN responses r USING (response_id)
JOIN policies p USING (policy_id)
QUALIFY row_number() OVER (
    PARTITION BY s.response_id, s.reward_model_id, s.criterion, r.prompt_id, p.name, m.name
    ORDER BY exactness(s.backend), s.scored_at DESC
) = 1;

-- One row a response and reward model: the score of the model's first criterion, by the most exact backend.
CREATE OR REPLACE VIEW response_scores AS
SELECT s.response_id, r.prompt_id, p.name AS policy, m.name AS reward_model, s.reward_model_id, s.score, s.backend,
       r.sample_index, s.run_id, s.scored_at, s.criterion, s.uncertainty, s.cut
FROM scores s
JOIN artifacts m ON m.artifact_id = s.reward_model_id
JOIN responses r USING (response_id)
JOIN policies p USING (policy_id)
QUALIFY row_number() OVER (
    PARTITION BY s.response_id, s.reward_model_id, r.prompt_id, p.name, m.name
    ORDER BY criterion_place(s.criterion, m.details), s.criterion, exactness(s.backend), s.scored_at DESC
) = 1;

-- One score a response: of the criterion asked for where the model has it, else of its first.  The name is asked for
-- beside the model, since only the name is filtered before ranking.
CREATE OR REPLACE MACRO model_scores(reward_model, about) AS TABLE
SELECT s.response_id, s.prompt_id, s.policy, s.criterion, s.score, s.uncertainty, s.backend, s.cut
FROM criterion_scores s
WHERE s.reward_model = reward_model AND s.reward_model_id IN (SELECT reward_model_id FROM model_run(reward_model))
QUALIFY row_number() OVER (PARTITION BY s.response_id ORDER BY s.criterion <> about, s.place, s.criterion) = 1;
