-- Reward models measured on files of other people's judgements.  What a file holds is not imported: only what was
-- measured stands here, and prompt_id joins with prompts where the study has the prompt.

-- One row a measurement.
CREATE TABLE benchmarks (
    benchmark_id    VARCHAR PRIMARY KEY,        -- 'b' + 16 hex digits, random
    name            VARCHAR NOT NULL,           -- of the data set, its file or its folder
    reward_model_id VARCHAR NOT NULL,           -- artifacts.artifact_id of kind reward_model
    criterion       VARCHAR NOT NULL,           -- of the judgements in the file
    scored_as       VARCHAR NOT NULL,           -- the reward model's criterion that was read
    backend         VARCHAR NOT NULL,           -- onnx-fp32, onnx-fp16, onnx-int8
    split           VARCHAR,                    -- only rows of this split; NULL takes all
    path            VARCHAR NOT NULL,
    preset          VARCHAR,
    mapping         VARCHAR NOT NULL,           -- one statement a line
    licence         VARCHAR,
    origin          VARCHAR,                    -- address or name of the data set
    rows            BIGINT NOT NULL,            -- read from the file
    left_out        JSON NOT NULL,              -- how many were left out, by reason
    seed            BIGINT NOT NULL,            -- of the resamples, and of the prompts drawn where there is a limit
    replicates      INTEGER NOT NULL,
    measured_at     TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

-- One row a comparison: responses to one prompt of which the file says that some are better than the others.
CREATE TABLE benchmark_items (
    benchmark_id VARCHAR NOT NULL,
    item         INTEGER NOT NULL,              -- from 0
    prompt_id    VARCHAR NOT NULL,
    subset       VARCHAR NOT NULL,              -- '' where the file names none
    kind         VARCHAR NOT NULL,              -- pair, best_of
    place        VARCHAR NOT NULL,              -- where in the file it stands first, as 'line 12'
    external_id  VARCHAR,                       -- the file's own id
    votes        INTEGER NOT NULL,              -- annotators who say so
    votes_other  INTEGER NOT NULL,              -- who say the opposite
    votes_tie    INTEGER NOT NULL,
    PRIMARY KEY (benchmark_id, item)
);

CREATE TABLE benchmark_responses (
    benchmark_id VARCHAR NOT NULL,
    item         INTEGER NOT NULL,
    response     INTEGER NOT NULL,              -- from 0, the good ones first
    good         BOOLEAN NOT NULL,              -- one of the better responses
    policy       VARCHAR NOT NULL,
    characters   INTEGER NOT NULL,
    score        DOUBLE NOT NULL,
    cut          BOOLEAN NOT NULL,              -- prompt and response were longer than the model reads
    PRIMARY KEY (benchmark_id, item, response)
);

-- The figures of a measurement with 95 % intervals, by resampling prompts.  part is the name of a subset or a section;
-- level is all, mean (of the sections, or of the subsets where there are none), section or subset.
CREATE TABLE benchmark_figures (
    benchmark_id VARCHAR NOT NULL,
    level        VARCHAR NOT NULL,
    part         VARCHAR NOT NULL,
    figure       VARCHAR NOT NULL,              -- accuracy, longer, over_longer, longer_wins, longer_loses, length_balanced,
                                                -- pairs, chance
    value        DOUBLE NOT NULL,
    low          DOUBLE,
    high         DOUBLE,
    n            BIGINT NOT NULL,               -- comparisons; of pairs the pairs
    prompts      BIGINT NOT NULL,               -- of the part
    PRIMARY KEY (benchmark_id, level, part, figure)
);

-- The chance that g good ones come before b bad ones that are as good, ties broken at random: 1 / (g + b choose g).
CREATE MACRO chance_above(g, b) AS
    CASE WHEN g = 1 THEN 1 / (1 + b) WHEN b = 1 THEN 1 / (1 + g) ELSE exp(lgamma(g + 1) + lgamma(b + 1) - lgamma(g + b + 1)) END;

-- One row a comparison.  correct: 1 where every good response has a higher score than every bad one, 0 where not, and
-- where they meet at one score the chance with ties broken at random: of a pair 1/2, of one among four 1/4.
-- longer: the same with characters in the place of scores.  chance: of a scorer that knows nothing.
CREATE VIEW benchmark_results AS
WITH edges AS (
    SELECT benchmark_id, item, min(score) FILTER (good) AS lowest_good, max(score) FILTER (NOT good) AS highest_bad,
           min(characters) FILTER (good) AS shortest_good, max(characters) FILTER (NOT good) AS longest_bad,
           count(*) FILTER (good) AS good, count(*) FILTER (NOT good) AS bad, bool_or(cut) AS cut
    FROM benchmark_responses
    GROUP BY ALL
), met AS (
    SELECT r.benchmark_id, r.item,
           count(*) FILTER (r.good AND r.score = e.lowest_good) AS good_scores,
           count(*) FILTER (NOT r.good AND r.score = e.highest_bad) AS bad_scores,
           count(*) FILTER (r.good AND r.characters = e.shortest_good) AS good_lengths,
           count(*) FILTER (NOT r.good AND r.characters = e.longest_bad) AS bad_lengths
    FROM benchmark_responses r
    JOIN edges e USING (benchmark_id, item)
    GROUP BY ALL
)
SELECT b.benchmark_id, b.name AS benchmark, m.name AS reward_model, b.reward_model_id, b.criterion, b.backend, i.item,
       i.subset, i.prompt_id, i.kind, i.place, i.external_id, e.good, e.bad, e.lowest_good - e.highest_bad AS margin,
       CASE WHEN e.lowest_good > e.highest_bad THEN 1.0 WHEN e.lowest_good < e.highest_bad THEN 0.0
            ELSE chance_above(t.good_scores, t.bad_scores) END AS correct,
       CASE WHEN e.shortest_good > e.longest_bad THEN 1.0 WHEN e.shortest_good < e.longest_bad THEN 0.0
            ELSE chance_above(t.good_lengths, t.bad_lengths) END AS longer,
       chance_above(e.good, e.bad) AS chance, e.cut, i.votes, i.votes_other, i.votes_tie
FROM benchmarks b
JOIN benchmark_items i USING (benchmark_id)
JOIN edges e USING (benchmark_id, item)
JOIN met t USING (benchmark_id, item)
LEFT JOIN artifacts m ON m.artifact_id = b.reward_model_id;

-- Every good response of a comparison against every bad one.
CREATE VIEW benchmark_pairs AS
SELECT i.benchmark_id, i.item, i.subset, i.prompt_id, g.response AS good_response, w.response AS bad_response,
       g.score - w.score AS difference, (sign(g.score - w.score) + 1) / 2 AS correct,
       (sign(g.characters - w.characters) + 1) / 2 AS longer
FROM benchmark_items i
JOIN benchmark_responses g ON g.benchmark_id = i.benchmark_id AND g.item = i.item AND g.good
JOIN benchmark_responses w ON w.benchmark_id = i.benchmark_id AND w.item = i.item AND NOT w.good;

-- The newest measurement of each reward model on each benchmark, criterion, split and number format.  learned: comparisons
-- on prompts that the model's own run learned from; cut: comparisons of which a response is longer than the model reads.
CREATE VIEW benchmark_summary AS
WITH newest AS (
    SELECT b.*, m.name AS reward_model, m.run_id
    FROM benchmarks b
    JOIN artifacts m ON m.artifact_id = b.reward_model_id
    QUALIFY row_number() OVER (
        PARTITION BY b.reward_model_id, b.name, b.criterion, b.split, b.backend ORDER BY b.measured_at DESC, b.benchmark_id) = 1
)
SELECT n.benchmark_id, n.reward_model, n.name AS benchmark, n.criterion, n.split, n.backend, n.preset,
       (SELECT count(*) FROM benchmark_items i WHERE i.benchmark_id = n.benchmark_id) AS comparisons,
       (SELECT count(DISTINCT i.prompt_id) FROM benchmark_items i WHERE i.benchmark_id = n.benchmark_id) AS prompts,
       any_value(f.value) FILTER (f.figure = 'accuracy') AS accuracy, any_value(f.low) FILTER (f.figure = 'accuracy') AS low,
       any_value(f.high) FILTER (f.figure = 'accuracy') AS high, any_value(f.value) FILTER (f.figure = 'longer') AS longer,
       any_value(f.value) FILTER (f.figure = 'longer_loses') AS longer_loses,
       any_value(f.value) FILTER (f.figure = 'length_balanced') AS length_balanced,
       any_value(f.value) FILTER (f.figure = 'chance') AS chance,
       (SELECT count(*) FROM benchmark_items i
        WHERE i.benchmark_id = n.benchmark_id
          AND EXISTS (SELECT 1 FROM run_prompts s
                      WHERE s.run_id = n.run_id AND s.prompt_id = i.prompt_id AND s.split = 'train')) AS learned,
       (SELECT count(DISTINCT r.item) FROM benchmark_responses r WHERE r.benchmark_id = n.benchmark_id AND r.cut) AS cut,
       n.left_out, n.measured_at
FROM newest n
LEFT JOIN benchmark_figures f ON f.benchmark_id = n.benchmark_id AND f.level = 'all'
GROUP BY ALL;
