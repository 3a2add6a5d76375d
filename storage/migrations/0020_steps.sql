-- What people say of the steps of a response.

-- Append-only: an annotator's newest row for a response is what stands; one without labels takes the others back.
CREATE TABLE step_judgements (
    step_judgement_id VARCHAR PRIMARY KEY,          -- 's' + 16 hex digits, random
    response_id  VARCHAR NOT NULL,
    annotator_id VARCHAR NOT NULL,
    separator    VARCHAR NOT NULL,                  -- what the steps were cut at
    ends         INTEGER[] NOT NULL,                -- where each step ends, in characters of the response
    labels       TINYINT[] NOT NULL,                -- of each step: 1 good, 0 neutral, -1 bad, NULL not judged
    seconds      DOUBLE,                            -- how long the person looked
    created_at   TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);
CREATE INDEX step_judgements_by_response ON step_judgements (response_id);

-- Every label of a step, of people and of files: 1 good, 0 neutral, -1 bad.  A file whose labels are 0 and 1 alone says
-- right and wrong; one that has negative labels says good, neutral and bad.  Steps of a file that do not make up their
-- response line by line are left out: nobody knows where they end.
CREATE VIEW step_labels AS
WITH signed AS (
    SELECT p.source, min(s.label) < 0 AS with_neutral
    FROM response_steps s
    JOIN responses r USING (response_id)
    JOIN prompts p USING (prompt_id)
    GROUP BY p.source
), imported AS (
    SELECT s.response_id, s.step, s.text, s.label, sum(length(s.text) + 1) OVER steps AS reached,
           string_agg(s.text, chr(10)) OVER (PARTITION BY s.response_id ORDER BY s.step
                                             ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS whole
    FROM response_steps s
    WINDOW steps AS (PARTITION BY s.response_id ORDER BY s.step)
), standing AS (
    SELECT response_id, annotator_id, arg_max(ends, (created_at, rowid)) AS ends, arg_max(labels, (created_at, rowid)) AS labels
    FROM step_judgements
    GROUP BY ALL
), judged AS (
    SELECT response_id, annotator_id, ends, labels, unnest(generate_series(0, len(labels) - 1)) AS step
    FROM standing
    WHERE len(labels) > 0
)
SELECT r.prompt_id, r.response_id, 'import:steps' AS annotator, 'import' AS annotator_kind, i.step,
       least(i.reached, length(r.text))::INTEGER AS ends_at, i.text,
       CASE WHEN n.with_neutral THEN sign(i.label) ELSE if(i.label >= 0.5, 1, -1) END::TINYINT AS label
FROM imported i
JOIN responses r ON r.response_id = i.response_id
JOIN prompts p ON p.prompt_id = r.prompt_id
JOIN signed n ON n.source IS NOT DISTINCT FROM p.source
WHERE i.label IS NOT NULL AND i.whole = r.text
UNION ALL
SELECT r.prompt_id, r.response_id, a.name, a.kind, j.step::INTEGER, j.ends[j.step + 1],
       substr(r.text, if(j.step = 0, 0, j.ends[j.step]) + 1, j.ends[j.step + 1] - if(j.step = 0, 0, j.ends[j.step])),
       j.labels[j.step + 1]
FROM judged j
JOIN responses r ON r.response_id = j.response_id
JOIN annotators a ON a.annotator_id = j.annotator_id
WHERE j.labels[j.step + 1] IS NOT NULL;

-- Scores of a process reward model at the end of each step: log-odds that the step is good.
CREATE TABLE step_scores (
    response_id     VARCHAR NOT NULL,
    reward_model_id VARCHAR NOT NULL,
    step            INTEGER NOT NULL,               -- from 0
    ends_at         INTEGER NOT NULL,               -- in characters of the response
    score           DOUBLE NOT NULL,
    PRIMARY KEY (response_id, reward_model_id, step)
);

-- Best of n by proxies that learned so many labels of a gold reward model, replicate by replicate: what the proxy thinks
-- of its choice and what the gold model does, in standard deviations within a prompt.  0 labels is the gold model itself.
CREATE VIEW gold_curves AS
SELECT run_id, split_part(name, '/', 2)::INTEGER AS labels, split_part(name, '/', 3)::INTEGER AS replicate, step AS n,
       ln(step) - (step - 1) / step AS kl, sqrt(greatest(0, ln(step) - (step - 1) / step)) AS sqrt_kl,
       arg_max("value", seq) FILTER (split_part(name, '/', 4) = 'proxy') AS proxy,
       arg_max("value", seq) FILTER (split_part(name, '/', 4) = 'gold') AS gold
FROM metrics
WHERE name LIKE 'gold\_curves/%' ESCAPE '\'
GROUP BY ALL;
