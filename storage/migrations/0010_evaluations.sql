-- What a policy says to prompts that it does not learn on, every few steps of its learning.  The means over a step are
-- the metrics heldout/…; run_prompts has the split.
CREATE TABLE evaluations (
    run_id       VARCHAR NOT NULL,
    step         BIGINT NOT NULL,               -- steps that the policy had learned by then
    prompt_id    VARCHAR NOT NULL,
    sample_index INTEGER NOT NULL,
    text         VARCHAR NOT NULL,
    score        DOUBLE,                        -- as the reward model gave it
    objective    DOUBLE,                        -- what is maximised of it, before any KL
    gold         DOUBLE,                        -- of the held-out scorer; NULL without one
    kl           DOUBLE,                        -- to the reference policy, summed over the response, in nats
    tokens       INTEGER,
    stopped      BOOLEAN,
    components   JSON,                          -- {"name of the component": its score, …}
    PRIMARY KEY (run_id, step, prompt_id, sample_index)
);
