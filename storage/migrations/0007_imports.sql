-- What imported files say beside texts and verdicts.

ALTER TABLE prompts ADD COLUMN external_id VARCHAR;     -- the prompt's id in the file it came from
ALTER TABLE prompts ADD COLUMN reference VARCHAR;       -- the reference answer
ALTER TABLE prompts ADD COLUMN split VARCHAR;           -- train, validation, test …, as the file says
ALTER TABLE prompts ADD COLUMN subset VARCHAR;          -- the part of a benchmark or data set
ALTER TABLE responses ADD COLUMN metadata JSON;         -- what else the file says of this response
ALTER TABLE judgements ADD COLUMN strength DOUBLE;      -- how much better, in the file's unit; NULL where it does not say
ALTER TABLE judgements ADD COLUMN metadata JSON;        -- what else the file says of this judgement

-- The steps of a response that is a solution, with what is known of each.
CREATE TABLE response_steps (
    response_id VARCHAR NOT NULL,
    step        INTEGER NOT NULL,               -- from 0
    text        VARCHAR NOT NULL,
    label       DOUBLE,                         -- 1 right, 0 wrong, or the file's own rating
    PRIMARY KEY (response_id, step)
);

-- One row an import: how the file was read, what came in, and what was left out.
CREATE TABLE imports (
    import_id   VARCHAR PRIMARY KEY,            -- 'i' + 16 hex digits, random
    name        VARCHAR NOT NULL,               -- of the file, the folder or the data set; prompts.source where no column says it
    path        VARCHAR NOT NULL,               -- absolute
    preset      VARCHAR,
    mapping     VARCHAR NOT NULL,               -- one statement a line
    licence     VARCHAR,
    origin      VARCHAR,                        -- address or name of the data set
    rows        BIGINT NOT NULL,
    left_out    JSON NOT NULL,                  -- rows left out, by reason
    columns     JSON NOT NULL,                  -- what became of each column
    added       JSON NOT NULL,                  -- prompts, responses and judgements that were new
    imported_at TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);
