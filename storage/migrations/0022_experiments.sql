-- Experiments: several methods, each with several seeds, from one run file.
CREATE TABLE experiments (
    experiment VARCHAR PRIMARY KEY,             -- its name
    text       VARCHAR NOT NULL,                -- of the run file, as it was last run
    judge      VARCHAR NOT NULL,                -- a reward model that no method learned from, an annotator, or people
    created_at TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

-- What each run is to its experiment.
CREATE TABLE experiment_runs (
    experiment VARCHAR NOT NULL,
    arm        VARCHAR NOT NULL,                -- a method with its settings; one that learns nothing is where others start
    seed       BIGINT NOT NULL,
    role       VARCHAR NOT NULL,                -- train, sample (responses to be compared), score (by the judge)
    run_id     VARCHAR NOT NULL,
    settings   JSON NOT NULL,                   -- as the run file asked for them
    created_at TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    PRIMARY KEY (experiment, arm, seed, role)
);

-- The responses that an experiment compares.
CREATE VIEW experiment_responses AS
SELECT e.experiment, e.arm, e.seed, r.prompt_id, r.response_id, r.sample_index, p.name AS policy, r.text,
       len(r.token_ids) AS tokens, r.finish_reason, e.run_id
FROM experiment_runs e
JOIN responses r USING (run_id)
JOIN policies p USING (policy_id)
WHERE e.role = 'sample';
