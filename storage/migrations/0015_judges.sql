-- What models answered when they judged pairs.

-- Two rows a judgement of a model: one for each order in which the responses were shown.
CREATE TABLE judge_answers (
    judgement_id VARCHAR NOT NULL,
    first_id     VARCHAR NOT NULL,              -- the response that was shown first
    run_id       VARCHAR NOT NULL,
    said         INTEGER NOT NULL,              -- 1 the first is better, -1 the second, 0 a tie
    share        DOUBLE,                        -- probability that the first is better, a tie one half; NULL of words
    mass         DOUBLE,                        -- of the model's distribution that lay on a verdict at all
    answer       VARCHAR,                       -- what an endpoint wrote, cut
    tokens_in    BIGINT,                        -- that it read
    tokens_out   BIGINT,                        -- that it wrote
    cost         DOUBLE,                        -- in the unit of the prices; 0 from the cache
    seconds      DOUBLE,
    cached       BOOLEAN NOT NULL,
    PRIMARY KEY (judgement_id, first_id)
);

-- One row a standing judgement that was asked in both orders; x before y by id, as in verdicts.  shown_first: what was
-- said of x when x stood first, shown_second: when it stood second.  share: probability that x is better, the mean of both.
CREATE VIEW judge_pairs AS
SELECT j.judgement_id, j.annotator, j.criterion, j.prompt_id, f.first_id AS x, s.first_id AS y,
       f.said AS shown_first, -s.said AS shown_second, f.said = -s.said AS orders_agree,
       (f.share + 1 - s.share) / 2 AS share, (f.mass + s.mass) / 2 AS mass,
       f.tokens_in + s.tokens_in AS tokens_in, f.tokens_out + s.tokens_out AS tokens_out,
       coalesce(f.cost, 0) + coalesce(s.cost, 0) AS cost, f.run_id
FROM current_judgements j
JOIN judge_answers f ON f.judgement_id = j.judgement_id
JOIN judge_answers s ON s.judgement_id = j.judgement_id AND s.first_id > f.first_id;
