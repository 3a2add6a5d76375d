-- Projects: who labels what, how often, in which order, and against what it is checked.

CREATE TABLE projects (
    project_id VARCHAR PRIMARY KEY,             -- 'w' + 16 hex digits of the name's hash
    name       VARCHAR NOT NULL UNIQUE,
    mode       VARCHAR NOT NULL,                -- rank, best, pair, best_worst, rate
    criterion  VARCHAR NOT NULL,                -- of ratings the first one
    overlap    INTEGER NOT NULL,                -- annotators that each task is for
    created_at TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

-- What a project's file said each time that it was another one; the last version counts.
CREATE TABLE project_versions (
    project_id VARCHAR NOT NULL,
    version    INTEGER NOT NULL,                -- from 1
    source     VARCHAR NOT NULL,                -- the TOML text
    guidelines VARCHAR NOT NULL,                -- Markdown, as it was then
    folder     VARCHAR,                         -- what paths in the text are relative to
    applied_at TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    PRIMARY KEY (project_id, version)
);

-- The queue of each annotator of a project.
CREATE TABLE assignments (
    assignment_id VARCHAR PRIMARY KEY,          -- 's' + 16 hex digits of the hash of project, annotator, kind, prompt, responses
    project_id    VARCHAR NOT NULL,
    annotator_id  VARCHAR NOT NULL,
    position      INTEGER NOT NULL,             -- from 0
    kind          VARCHAR NOT NULL,             -- label; gold (the answer is known); repeat (a label once more, unannounced)
    prompt_id     VARCHAR NOT NULL,
    responses     VARCHAR[] NOT NULL            -- ids, sorted
);

CREATE TABLE gold_answers (
    project_id  VARCHAR NOT NULL,
    prompt_id   VARCHAR NOT NULL,
    response_id VARCHAR NOT NULL,
    rank        INTEGER NOT NULL,               -- 1 is best; equal ranks are ties
    PRIMARY KEY (project_id, prompt_id, response_id)
);

ALTER TABLE judgements ADD COLUMN assignment_id VARCHAR;  -- the entry of a project's queue that it answers

-- Every entry of every queue, and what became of it: judged_at is NULL while it waits.
CREATE VIEW project_queues AS
WITH answers AS (
    SELECT j.assignment_id, min(j.judgement_id) AS judgement_id, max(j.created_at) AS judged_at,
           sum(j.seconds) AS seconds, bool_or(j.kind = 'skip') AS skipped, bool_or(j.flagged) AS flagged
    FROM judgements j
    WHERE j.assignment_id IS NOT NULL AND j.kind <> 'retraction'
      AND NOT EXISTS (SELECT 1 FROM judgements later WHERE later.supersedes = j.judgement_id)
    GROUP BY j.assignment_id
)
SELECT p.name AS project, a.name AS annotator, s.position, s.kind, s.prompt_id, s.responses, s.assignment_id,
       j.judged_at, j.seconds, j.skipped, j.flagged
FROM assignments s
JOIN projects p USING (project_id)
JOIN annotators a USING (annotator_id)
LEFT JOIN answers j USING (assignment_id);

-- How far each annotator has come.  seconds_each: of the last 20, pauses left out; seconds_left: at that pace.
CREATE VIEW project_progress AS
WITH timed AS (
    SELECT project, annotator, seconds,
           row_number() OVER (PARTITION BY project, annotator ORDER BY judged_at DESC, position DESC) AS place
    FROM project_queues
    WHERE judged_at IS NOT NULL AND seconds IS NOT NULL
), pace AS (
    SELECT project, annotator, avg(seconds) AS seconds_each FROM timed WHERE place <= 20 GROUP BY ALL
)
SELECT q.project, q.annotator, count(*) AS entries, count(q.judged_at) AS done,
       count(*) FILTER (q.skipped) AS skipped, count(*) - count(q.judged_at) AS left_over,
       coalesce(sum(q.seconds), 0) AS seconds, any_value(p.seconds_each) AS seconds_each,
       any_value(p.seconds_each) * (count(*) - count(q.judged_at)) AS seconds_left
FROM project_queues q
LEFT JOIN pace p USING (project, annotator)
GROUP BY q.project, q.annotator;

-- How often each task has been labelled by different annotators, and how often it should be.
CREATE VIEW project_coverage AS
SELECT q.project, q.prompt_id, q.responses, count(DISTINCT q.annotator) FILTER (q.judged_at IS NOT NULL) AS labels,
       any_value(p.overlap) AS wanted
FROM project_queues q
JOIN projects p ON p.name = q.project
WHERE q.kind = 'label'
GROUP BY q.project, q.prompt_id, q.responses;

-- What each annotator said of two responses of an entry: 1 the first is better, -1 the second, 0 equal.
CREATE VIEW project_verdicts AS
SELECT p.name AS project, a.name AS annotator, s.kind, s.prompt_id, s.responses, x.response_id AS response_a,
       y.response_id AS response_b, sign(y.rank - x.rank)::INTEGER AS verdict
FROM assignments s
JOIN projects p USING (project_id)
JOIN annotators a USING (annotator_id)
JOIN judgements j ON j.assignment_id = s.assignment_id AND j.criterion = p.criterion
JOIN rankings x ON x.judgement_id = j.judgement_id
JOIN rankings y ON y.judgement_id = j.judgement_id AND y.response_id > x.response_id
WHERE NOT (x.rank = y.rank AND x.unordered);

-- Gold questions: pairs of responses on which an annotator said what is known.
CREATE VIEW project_gold AS
SELECT v.project, v.annotator, v.prompt_id, count(*) AS pairs,
       count(*) FILTER (v.verdict = sign(h.rank - g.rank)::INTEGER) AS agreed
FROM project_verdicts v
JOIN projects p ON p.name = v.project
JOIN gold_answers g ON g.project_id = p.project_id AND g.prompt_id = v.prompt_id AND g.response_id = v.response_a
JOIN gold_answers h ON h.project_id = p.project_id AND h.prompt_id = v.prompt_id AND h.response_id = v.response_b
WHERE v.kind = 'gold'
GROUP BY ALL;

-- Hidden repeats: pairs of responses on which an annotator said the same both times.
CREATE VIEW project_repeats AS
SELECT r.project, r.annotator, r.prompt_id, count(*) AS pairs, count(*) FILTER (r.verdict = l.verdict) AS agreed
FROM project_verdicts r
JOIN project_verdicts l USING (project, annotator, prompt_id, responses, response_a, response_b)
WHERE r.kind = 'repeat' AND l.kind = 'label'
GROUP BY ALL;
