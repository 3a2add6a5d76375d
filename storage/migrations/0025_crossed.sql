-- Crossed projects: the same responses judged in two ways, as ranked by some and rated by others.

ALTER TABLE assignments ADD COLUMN mode VARCHAR;    -- the way of judging; NULL: the project's
ALTER TABLE assignments ADD COLUMN behind VARCHAR;  -- the entry of the same annotator that must be answered before; NULL: none
ALTER TABLE assignments ADD COLUMN days DOUBLE;     -- and for so long

-- Every entry of every queue, and what became of it: judged_at is NULL while it waits.
CREATE OR REPLACE VIEW project_queues AS
WITH answers AS (
    SELECT j.assignment_id, min(j.judgement_id) AS judgement_id, max(j.created_at) AS judged_at,
           sum(j.seconds) AS seconds, bool_or(j.kind = 'skip') AS skipped, bool_or(j.flagged) AS flagged
    FROM judgements j
    WHERE j.assignment_id IS NOT NULL AND j.kind <> 'retraction'
      AND NOT EXISTS (SELECT 1 FROM judgements later WHERE later.supersedes = j.judgement_id)
    GROUP BY j.assignment_id
)
SELECT p.name AS project, a.name AS annotator, s.position, s.kind, s.prompt_id, s.responses, s.assignment_id,
       j.judged_at, j.seconds, j.skipped, j.flagged, coalesce(s.mode, p.mode) AS mode, s.behind, s.days
FROM assignments s
JOIN projects p USING (project_id)
JOIN annotators a USING (annotator_id)
LEFT JOIN answers j USING (assignment_id);

-- How often each task has been labelled in each way by different annotators, and how often it should be.
CREATE OR REPLACE VIEW project_coverage AS
SELECT q.project, q.prompt_id, q.responses, count(DISTINCT q.annotator) FILTER (q.judged_at IS NOT NULL) AS labels,
       any_value(p.overlap) AS wanted, q.mode
FROM project_queues q
JOIN projects p ON p.name = q.project
WHERE q.kind = 'label'
GROUP BY q.project, q.prompt_id, q.responses, q.mode;

-- What each annotator said of two responses of an entry: 1 the first is better, -1 the second, 0 equal.
CREATE OR REPLACE VIEW project_verdicts AS
SELECT p.name AS project, a.name AS annotator, s.kind, s.prompt_id, s.responses, x.response_id AS response_a,
       y.response_id AS response_b, sign(y.rank - x.rank)::INTEGER AS verdict, coalesce(s.mode, p.mode) AS mode
FROM assignments s
JOIN projects p USING (project_id)
JOIN annotators a USING (annotator_id)
JOIN judgements j ON j.assignment_id = s.assignment_id AND j.criterion = p.criterion
JOIN rankings x ON x.judgement_id = j.judgement_id
JOIN rankings y ON y.judgement_id = j.judgement_id AND y.response_id > x.response_id
WHERE NOT (x.rank = y.rank AND x.unordered);

-- Hidden repeats: pairs of responses on which an annotator said the same both times, in the same way of judging.
CREATE OR REPLACE VIEW project_repeats AS
SELECT r.project, r.annotator, r.prompt_id, count(*) AS pairs, count(*) FILTER (r.verdict = l.verdict) AS agreed
FROM project_verdicts r
JOIN project_verdicts l USING (project, annotator, prompt_id, responses, response_a, response_b, mode)
WHERE r.kind = 'repeat' AND l.kind = 'label'
GROUP BY ALL;
