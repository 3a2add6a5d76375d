-- Every TIMESTAMP of the store is in UTC.  There are no foreign keys: DuckDB checks them too eagerly (deleting a child
-- and then its parent in one transaction fails), so the functions of storage/ keep the references.

-- Prompts are identified by their content, so importing one twice adds nothing.
CREATE TABLE prompts (
    prompt_id   VARCHAR PRIMARY KEY,            -- 'p' + 16 hex digits of the content's hash
    text        VARCHAR NOT NULL,               -- what a person reads: the last user turn, or the transcript
    messages    JSON NOT NULL,                  -- [{"role": …, "content": …}, …], ends with a user turn
    source      VARCHAR,                        -- file name or the user's word for it
    metadata    JSON,
    created_at  TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE runs (
    run_id      VARCHAR PRIMARY KEY,            -- 'ppo-7f3a9c'
    kind        VARCHAR NOT NULL,               -- generate, reward, ppo, export, score
    status      VARCHAR NOT NULL,               -- queued, running, done, stopped, failed
    config      JSON NOT NULL,
    waits_for   VARCHAR,                        -- the run that must be done before this one starts
    data_hash   VARCHAR,                        -- of the snapshot that the run read
    run_dir     VARCHAR,
    device      VARCHAR,
    pid         INTEGER,
    pid_started DOUBLE,                         -- start time of that process: a pid alone can be reused
    last_seq    BIGINT NOT NULL DEFAULT 0,      -- last ingested event
    last_offset BIGINT NOT NULL DEFAULT 0,      -- bytes of events.jsonl already ingested
    stage       VARCHAR,
    progress    DOUBLE,                         -- 0 … 1 of the stage, NULL when unknown
    reason      VARCHAR,                        -- why it failed, one sentence
    stderr_tail VARCHAR,
    summary     JSON,
    created_at  TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    started_at  TIMESTAMP,
    ended_at    TIMESTAMP
);

CREATE TABLE policies (
    policy_id   VARCHAR PRIMARY KEY,            -- 'y' + 16 hex digits of the name's hash
    name        VARCHAR NOT NULL UNIQUE,
    model       VARCHAR,                        -- hub id, folder or 'smollm2'; NULL for imported responses
    parent_id   VARCHAR,
    run_id      VARCHAR,                        -- the run that trained it
    created_at  TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE responses (
    response_id    VARCHAR PRIMARY KEY,         -- 'r' + 16 hex digits of the hash of prompt, policy and text (imported)
                                                --       or of run, prompt and sample index (generated)
    prompt_id      VARCHAR NOT NULL,
    policy_id      VARCHAR NOT NULL,
    run_id         VARCHAR,
    sample_index   INTEGER NOT NULL DEFAULT 0,
    text           VARCHAR NOT NULL,
    token_ids      INTEGER[],
    token_logprobs FLOAT[],                     -- log π of each token at sampling, in nats
    finish_reason  VARCHAR,                     -- stop, length; NULL for imported text
    sampling       JSON,                        -- temperature, top_p, max_new_tokens, template
    seed           BIGINT,
    source         VARCHAR,
    created_at     TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);
CREATE INDEX responses_by_prompt ON responses (prompt_id);

CREATE TABLE annotators (
    annotator_id VARCHAR PRIMARY KEY,           -- 'a' + 16 hex digits of the name's hash
    name         VARCHAR NOT NULL UNIQUE,
    kind         VARCHAR NOT NULL,              -- human, ai, rule, import
    created_at   TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

-- Append-only: undo and edit add a row that supersedes.
CREATE TABLE judgements (
    judgement_id VARCHAR PRIMARY KEY,           -- 'j' + 16 hex digits: random, or of the content's hash (imported)
    prompt_id    VARCHAR NOT NULL,
    annotator_id VARCHAR NOT NULL,
    kind         VARCHAR NOT NULL,              -- ranking, pair, best_of, rating, skip, retraction
    criterion    VARCHAR NOT NULL DEFAULT 'overall',
    supersedes   VARCHAR,                       -- the judgement that this one replaces or takes back
    reason       VARCHAR,                       -- why it was skipped
    flagged      BOOLEAN NOT NULL DEFAULT false,
    note         VARCHAR,
    seconds      DOUBLE,                        -- how long the person looked
    source       VARCHAR,
    created_at   TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);
CREATE INDEX judgements_by_prompt ON judgements (prompt_id);

CREATE TABLE judgement_items (
    judgement_id VARCHAR NOT NULL,
    response_id  VARCHAR NOT NULL,
    rank         INTEGER,                       -- 1 is best; equal ranks are ties
    rating       DOUBLE,
    position     INTEGER,                       -- where it stood on the screen, from 0
    PRIMARY KEY (judgement_id, response_id)
);

CREATE TABLE metrics (
    run_id VARCHAR NOT NULL,
    seq    BIGINT NOT NULL,
    step   BIGINT NOT NULL,
    name   VARCHAR NOT NULL,                    -- 'train/loss', 'heldout/accuracy', 'ppo/kl', …
    value  DOUBLE,
    logged_at TIMESTAMP NOT NULL,
    PRIMARY KEY (run_id, seq, name)
);

CREATE TABLE run_messages (
    run_id VARCHAR NOT NULL,
    seq    BIGINT NOT NULL,
    level  VARCHAR NOT NULL,                    -- info, warning
    text   VARCHAR NOT NULL,
    logged_at TIMESTAMP NOT NULL,
    PRIMARY KEY (run_id, seq)
);

CREATE TABLE artifacts (
    artifact_id VARCHAR PRIMARY KEY,            -- 'f' + 16 hex digits of the hash of run, kind, name and step
    run_id      VARCHAR,
    kind        VARCHAR NOT NULL,               -- policy, reward_model, onnx, checkpoint
    name        VARCHAR NOT NULL,               -- of several of one kind and name the newest is in use
    parent_id   VARCHAR,                        -- of an onnx: its reward_model
    path        VARCHAR NOT NULL,               -- absolute
    step        BIGINT,
    details     JSON,
    created_at  TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

CREATE TABLE scores (
    response_id     VARCHAR NOT NULL,
    reward_model_id VARCHAR NOT NULL,           -- artifacts.artifact_id of kind reward_model
    score           DOUBLE NOT NULL,
    backend         VARCHAR NOT NULL,           -- torch-bfloat16, torch-float32, onnx-fp32, onnx-int8
    run_id          VARCHAR,
    scored_at       TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    PRIMARY KEY (response_id, reward_model_id, backend)
);

CREATE TABLE rollouts (
    run_id       VARCHAR NOT NULL,
    step         BIGINT NOT NULL,
    prompt_id    VARCHAR NOT NULL,
    sample_index INTEGER NOT NULL,
    text         VARCHAR NOT NULL,
    score        DOUBLE,                        -- as the reward model gave it, before normalisation
    reward       DOUBLE,                        -- what the loss saw: normalised score − β·KL, summed
    kl           DOUBLE,                        -- summed over the response, in nats
    tokens       INTEGER,
    stopped      BOOLEAN,
    PRIMARY KEY (run_id, step, prompt_id, sample_index)
);

CREATE TABLE saved_queries (
    query_id   VARCHAR PRIMARY KEY,
    name       VARCHAR,                         -- NULL: history only
    sql        VARCHAR NOT NULL,
    rows       BIGINT,
    seconds    DOUBLE,
    error      VARCHAR,
    created_at TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

-- What the file knows about itself, e.g. the folder of runs that token_traces reads.
CREATE TABLE store_settings (
    key   VARCHAR PRIMARY KEY,
    value VARCHAR
);
