-- What an annotator has said of the steps of a response and not recorded yet: it survives the process that showed it.
CREATE TABLE step_drafts (
    annotator_id VARCHAR NOT NULL,
    response_id  VARCHAR NOT NULL,
    ends         INTEGER[] NOT NULL,            -- where each step ends, in characters of the response
    labels       TINYINT[] NOT NULL,            -- as in step_judgements
    updated_at   TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    PRIMARY KEY (annotator_id, response_id)
);
