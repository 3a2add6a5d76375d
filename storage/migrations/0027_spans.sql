-- What annotators have written on passages of responses, with their judgement of them.
CREATE TABLE judgement_spans (
    judgement_id VARCHAR NOT NULL,
    place        INTEGER NOT NULL,              -- from 0, in the order in which they were written
    response_id  VARCHAR NOT NULL,
    begins       INTEGER NOT NULL,              -- characters of the response's text before the passage
    ends         INTEGER NOT NULL,              -- and up to its end
    comment      VARCHAR NOT NULL,
    PRIMARY KEY (judgement_id, place)
);

-- Of standing judgements and skips, the passage beside what was written on it.
CREATE VIEW span_comments AS
SELECT j.prompt_id, s.response_id, a.name AS annotator, a.kind AS annotator_kind, j.criterion, s.begins, s.ends,
       r.text[s.begins + 1 : s.ends] AS passage, s.comment, j.judgement_id, j.created_at
FROM judgement_spans s
JOIN judgements j USING (judgement_id)
JOIN annotators a USING (annotator_id)
JOIN responses r ON r.response_id = s.response_id
WHERE j.kind <> 'retraction' AND NOT EXISTS (SELECT 1 FROM judgements later WHERE later.supersedes = j.judgement_id);
