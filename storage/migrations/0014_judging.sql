-- More ways to judge than whole rankings, and what a person had begun.

-- judgements.kind is one of: ranking, partial (the best few in order; those of the last rank were not compared with each
-- other), best_of (one chosen out of several), best_worst (ranks 1, 2, 3; those of rank 2 were not compared), pair, rating,
-- skip, retraction.
-- judgements.strength of a pair made here: 1 slightly, 2 clearly, 3 much better.
ALTER TABLE judgements ADD COLUMN outcome VARCHAR;      -- of a pair without a winner: both_bad; NULL otherwise
ALTER TABLE judgements ADD COLUMN confidence INTEGER;   -- 1 a guess, 2 fairly sure, 3 certain; NULL not said
ALTER TABLE judgements ADD COLUMN sitting VARCHAR;      -- ratings by several criteria made at once share it

-- What an annotator has placed and not recorded yet: one row a prompt and way of judging, replaced with every key and
-- removed by the judgement.
CREATE TABLE drafts (
    annotator_id VARCHAR NOT NULL,
    prompt_id    VARCHAR NOT NULL,
    mode         VARCHAR NOT NULL,              -- rank, best, pair, best_worst, rate
    content      JSON NOT NULL,                 -- responses in the order of the screen, what is placed, flag, note, seconds
    updated_at   TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    PRIMARY KEY (annotator_id, prompt_id, mode)
);

CREATE OR REPLACE VIEW current_judgements AS
SELECT j.judgement_id, j.prompt_id, a.name AS annotator, a.kind AS annotator_kind, j.kind, j.criterion,
       j.flagged, j.note, j.seconds, j.source, j.created_at, j.strength, j.outcome, j.confidence
FROM judgements j
JOIN annotators a USING (annotator_id)
WHERE j.kind NOT IN ('skip', 'retraction')
  AND NOT EXISTS (SELECT 1 FROM judgements later WHERE later.supersedes = j.judgement_id);

-- One row a judged response.  A rating ranks too: the highest rating is rank 1, equal ratings tie.  unordered: those
-- that share the rank were not compared with each other.
CREATE OR REPLACE VIEW rankings AS
SELECT j.judgement_id, j.annotator, j.annotator_kind, j.kind, j.criterion, j.prompt_id, i.response_id,
       coalesce(i.rank,
                CASE WHEN i.rating IS NOT NULL
                     THEN rank() OVER (PARTITION BY j.prompt_id, j.judgement_id ORDER BY i.rating DESC NULLS LAST) END)::INTEGER AS rank,
       i.rating, i.position, j.created_at,
       CASE j.kind WHEN 'best_of' THEN true
                   WHEN 'best_worst' THEN i.rank = 2
                   WHEN 'partial' THEN i.rank = max(i.rank) OVER (PARTITION BY j.prompt_id, j.judgement_id)
                   ELSE false END AS unordered,
       j.strength, j.confidence
FROM current_judgements j
JOIN judgement_items i USING (judgement_id)
WHERE i.rank IS NOT NULL OR i.rating IS NOT NULL;

-- Every pair that a standing judgement implies, the better response first.
CREATE OR REPLACE VIEW preference_pairs AS
SELECT w.prompt_id, w.judgement_id, w.annotator, w.annotator_kind, w.criterion,
       w.response_id AS winner_id, l.response_id AS loser_id, l.rank - w.rank AS rank_distance, w.created_at,
       w.strength, w.confidence
FROM rankings w
JOIN rankings l ON l.judgement_id = w.judgement_id AND l.rank > w.rank;

-- Pairs judged equal.
CREATE OR REPLACE VIEW preference_ties AS
SELECT x.prompt_id, x.judgement_id, x.annotator, x.annotator_kind, x.criterion,
       x.response_id AS response_a, y.response_id AS response_b, x.created_at
FROM rankings x
JOIN rankings y ON y.judgement_id = x.judgement_id AND y.rank = x.rank AND y.response_id > x.response_id
WHERE NOT x.unordered;
