-- name: stands
-- A judgement j that is neither taken back nor replaced.
j.kind <> 'retraction' AND NOT EXISTS (SELECT 1 FROM judgements later WHERE later.supersedes = j.judgement_id)

-- name: own
-- One of the annotator's by the criterion.
j.annotator_id = $annotator_id AND j.criterion = $criterion AND {judgements.stands}

-- name: met_pairs
-- Two responses that stand in one of the judgements of `standing`.
SELECT DISTINCT x.response_id AS response_a, y.response_id AS response_b
FROM standing v
JOIN judgement_items x ON x.judgement_id = v.judgement_id
JOIN judgement_items y ON y.judgement_id = v.judgement_id AND y.response_id > x.response_id

-- name: annotator
SELECT 1 FROM annotators WHERE annotator_id = $annotator_id

-- name: add_annotator
INSERT INTO annotators (annotator_id, name, kind) VALUES ($annotator_id, $name, $kind) ON CONFLICT DO NOTHING

-- name: annotators
SELECT name, kind FROM annotators ORDER BY created_at, name

-- name: add
INSERT INTO judgements (judgement_id, prompt_id, annotator_id, kind, criterion, supersedes, reason, flagged, note,
                        seconds, source, strength, outcome, confidence, sitting, assignment_id)
VALUES ($judgement_id, $prompt_id, $annotator_id, $kind, $criterion, $supersedes, $reason, $flagged, $note,
        $seconds, $source, $strength, $outcome, $confidence, $sitting, $assignment_id)

-- name: load
INSERT INTO judgements (judgement_id, prompt_id, annotator_id, kind, criterion, supersedes, reason, flagged, note,
                        seconds, source, strength, outcome, confidence, sitting, assignment_id)
SELECT judgement_id, prompt_id, annotator_id, kind, criterion, supersedes, reason, flagged, note, seconds, source,
       strength, outcome, confidence, sitting, assignment_id
FROM arrived

-- name: load_items
INSERT INTO judgement_items (judgement_id, response_id, rank, rating, position)
SELECT judgement_id, response_id, rank, rating, "position" FROM arrived

-- name: load_spans
INSERT INTO judgement_spans (judgement_id, place, response_id, begins, ends, comment)
SELECT judgement_id, place, response_id, begins, ends, comment FROM arrived

-- name: spans
SELECT response_id, begins, ends, comment FROM judgement_spans WHERE judgement_id = $judgement_id ORDER BY place

-- name: get
SELECT j.judgement_id, j.prompt_id, a.name, j.kind, j.criterion, j.supersedes, j.reason, j.flagged, j.note, j.seconds,
       j.source, j.created_at, j.strength, j.outcome, j.confidence, j.sitting, j.assignment_id
FROM judgements j
JOIN annotators a USING (annotator_id)
WHERE j.judgement_id = $judgement_id

-- name: items
SELECT response_id, rank, rating, position
FROM judgement_items
WHERE judgement_id = $judgement_id
ORDER BY position NULLS LAST, rank NULLS LAST, response_id

-- name: last_standing
SELECT j.judgement_id
FROM judgements j
WHERE j.annotator_id = $annotator_id AND ($criterion IS NULL OR j.criterion = $criterion) AND {judgements.stands}
ORDER BY j.created_at DESC, j.rowid DESC
LIMIT 1

-- name: taken_back
-- What the annotator has taken back last and not judged past since, with what took it back; several where they were made
-- at once.  What was recorded again replaces what had taken it back, and is no judgement past it.
WITH mine AS (
    SELECT j.*, j.rowid AS place FROM judgements j WHERE j.annotator_id = $annotator_id
), undone AS (
    SELECT r.judgement_id AS retraction, r.created_at, r.place, o.judgement_id, coalesce(o.sitting, o.judgement_id) AS sitting
    FROM mine r
    JOIN mine o ON o.judgement_id = r.supersedes
    WHERE r.kind = 'retraction' AND r.reason = 'undo' AND r.created_at >= $since
      AND NOT EXISTS (SELECT 1 FROM mine later WHERE later.supersedes = r.judgement_id)
      AND NOT EXISTS (
          SELECT 1 FROM mine past
          WHERE (past.created_at, past.place) > (r.created_at, r.place) AND past.kind <> 'retraction'
            AND NOT EXISTS (SELECT 1 FROM mine again WHERE again.judgement_id = past.supersedes AND again.kind = 'retraction')
      )
)
SELECT judgement_id, retraction
FROM undone
WHERE sitting = (SELECT sitting FROM undone ORDER BY created_at DESC, place DESC LIMIT 1)
ORDER BY created_at, place

-- name: standing_of_sitting
SELECT j.judgement_id
FROM judgements j
WHERE j.sitting = $sitting AND {judgements.stands}
ORDER BY j.created_at, j.rowid

-- name: standing
SELECT j.judgement_id
FROM judgements j
WHERE j.prompt_id = $prompt_id AND {judgements.own}
ORDER BY j.created_at, j.rowid

-- name: prompts_to_rank
WITH seen AS (
    SELECT DISTINCT i.response_id
    FROM judgements j
    JOIN judgement_items i USING (judgement_id)
    WHERE {judgements.own}
), open AS (
    SELECT r.prompt_id
    FROM responses r
    LEFT JOIN seen s USING (response_id)
    WHERE $among IS NULL OR r.prompt_id IN (SELECT unnest(from_json($among, '["VARCHAR"]')))
    GROUP BY r.prompt_id
    HAVING min(hash(r.text)) <> max(hash(r.text)) AND count(*) > count(s.response_id)
)
SELECT o.prompt_id
FROM open o
JOIN prompts p USING (prompt_id)
WHERE NOT list_contains($exclude::VARCHAR[], o.prompt_id)
ORDER BY CASE WHEN $seed IS NOT NULL THEN hash(o.prompt_id, $seed) ELSE 0 END, p.created_at, p.rowid

-- name: pairs_to_judge
WITH standing AS (
    SELECT judgement_id
    FROM judgements j
    WHERE {judgements.own}
), seen AS ({judgements.met_pairs}), open AS (
    SELECT a.prompt_id, a.response_id AS response_a, b.response_id AS response_b
    FROM responses a
    JOIN responses b ON b.prompt_id = a.prompt_id AND b.response_id > a.response_id AND b.text <> a.text
    WHERE NOT list_contains($exclude::VARCHAR[], a.prompt_id)
      AND ($among IS NULL OR a.prompt_id IN (SELECT unnest(from_json($among, '["VARCHAR"]'))))
)
SELECT o.prompt_id, o.response_a, o.response_b
FROM open o
ANTI JOIN seen s ON s.response_a = o.response_a AND s.response_b = o.response_b
JOIN prompts p ON p.prompt_id = o.prompt_id
ORDER BY CASE WHEN $seed IS NOT NULL THEN hash(o.prompt_id, o.response_a, o.response_b, $seed) ELSE 0 END,
         p.created_at, p.rowid, o.response_a, o.response_b

-- name: met
SELECT 1
FROM judgements j
JOIN judgement_items i USING (judgement_id)
WHERE j.prompt_id = $prompt_id AND {judgements.own}
  AND list_contains($pair::VARCHAR[], i.response_id)
GROUP BY j.judgement_id
HAVING count(DISTINCT i.response_id) = 2
LIMIT 1

-- name: candidates
-- A table that is also joined is read by its index only when it is asked for apart.
WITH chosen AS MATERIALIZED (
    SELECT response_id, policy_id, text, created_at, sample_index FROM responses WHERE prompt_id = $prompt_id
), judged AS MATERIALIZED (
    SELECT judgement_id, annotator_id, criterion, kind FROM judgements WHERE prompt_id = $prompt_id
), seen AS (
    SELECT DISTINCT i.response_id
    FROM judged j
    JOIN judgement_items i USING (judgement_id)
    WHERE {judgements.own}
)
SELECT r.response_id, r.text, p.name, s.response_id IS NOT NULL
FROM chosen r
JOIN policies p USING (policy_id)
LEFT JOIN seen s USING (response_id)
ORDER BY r.created_at, p.name, r.sample_index, r.response_id

-- name: pace
WITH mine AS (
    SELECT j.created_at, j.seconds, j.rowid AS position
    FROM judgements j
    WHERE j.annotator_id = $annotator_id AND j.criterion = $criterion AND list_contains($kinds::VARCHAR[], j.kind)
      AND NOT EXISTS (SELECT 1 FROM judgements later WHERE later.supersedes = j.judgement_id)
), recent AS (
    SELECT seconds FROM mine WHERE seconds IS NOT NULL ORDER BY created_at DESC, position DESC LIMIT 20
)
SELECT (SELECT count(*) FROM mine), (SELECT count(*) FROM mine WHERE created_at >= $since),
       (SELECT count(*) FROM recent), (SELECT coalesce(sum(seconds), 0) FROM recent)

-- name: session
-- Every policy whose responses the annotator has compared since then, with its share of the pairs with other policies.
WITH mine AS (
    SELECT judgement_id FROM current_judgements WHERE annotator = $annotator AND created_at >= $since
), compared AS (
    SELECT winner_id AS one, loser_id AS other, 1.0 AS won FROM preference_pairs SEMI JOIN mine USING (judgement_id)
    UNION ALL
    SELECT loser_id, winner_id, 0.0 FROM preference_pairs SEMI JOIN mine USING (judgement_id)
    UNION ALL
    SELECT response_a, response_b, 0.5 FROM preference_ties SEMI JOIN mine USING (judgement_id)
    UNION ALL
    SELECT response_b, response_a, 0.5 FROM preference_ties SEMI JOIN mine USING (judgement_id)
)
SELECT p.name, count(*) AS pairs, avg(c.won) AS share
FROM compared c
JOIN responses x ON x.response_id = c.one
JOIN responses y ON y.response_id = c.other
JOIN policies p ON p.policy_id = x.policy_id
WHERE x.policy_id <> y.policy_id
GROUP BY p.name
ORDER BY share DESC, p.name

-- name: session_counts
SELECT count(*) FILTER (j.kind <> 'skip'), count(*) FILTER (j.kind = 'skip'), coalesce(sum(j.seconds), 0)
FROM judgements j
WHERE j.annotator_id = $annotator_id AND j.created_at >= $since AND {judgements.stands}

-- name: agreement
SELECT annotator_a, annotator_b, criterion, pairs, agreement, ties_a, ties_b, kappa
FROM annotator_agreement
ORDER BY criterion, annotator_a, annotator_b

-- name: peoples_verdicts
-- On the pairs of the prompts in `waiting`; first: whether response_a was found better, NULL where they tie.
verdicts AS (
    SELECT prompt_id, least(winner_id, loser_id) AS response_a, greatest(winner_id, loser_id) AS response_b,
           winner_id < loser_id AS first
    FROM preference_pairs
    WHERE criterion = $criterion AND annotator_kind NOT IN ('rule', 'ai') AND prompt_id IN (SELECT prompt_id FROM waiting)
    UNION ALL
    SELECT prompt_id, response_a, response_b, NULL
    FROM preference_ties
    WHERE criterion = $criterion AND annotator_kind NOT IN ('rule', 'ai') AND prompt_id IN (SELECT prompt_id FROM waiting)
)

-- name: sizes
-- How many pairs the responses of each prompt in `waiting` make.
sizes AS (
    SELECT prompt_id, count(*) * (count(*) - 1) / 2 AS possible
    FROM responses
    WHERE prompt_id IN (SELECT prompt_id FROM waiting)
    GROUP BY prompt_id
)

-- name: least_agreed_prompts
-- A pair's agreement is (votes for the commonest verdict − the others) / (verdicts + 1): none where nobody has judged
-- and none where two people disagree, who come first.
WITH waiting AS ({open}), {judgements.peoples_verdicts}, pairs AS (
    SELECT prompt_id, response_a, response_b, count(*) AS verdicts,
           greatest(count(*) FILTER (first), count(*) FILTER (NOT first), count(*) FILTER (first IS NULL)) AS most
    FROM verdicts
    GROUP BY ALL
), agreed AS (
    SELECT prompt_id, sum(greatest(0, 2 * most - verdicts) / (verdicts + 1)) AS agreement, sum(verdicts) AS verdicts
    FROM pairs
    GROUP BY prompt_id
), {judgements.sizes}
SELECT w.prompt_id
FROM waiting w
JOIN prompts p USING (prompt_id)
JOIN sizes s USING (prompt_id)
LEFT JOIN agreed a USING (prompt_id)
ORDER BY coalesce(a.agreement, 0) / s.possible, coalesce(a.verdicts, 0) DESC, p.created_at, p.rowid

-- name: least_agreed_pairs
-- Of pairs without a verdict, those of the prompts with the fewest verdicts come first.
WITH waiting AS ({open}), {judgements.peoples_verdicts}, agreed AS (
    SELECT response_a, response_b, count(*) AS verdicts,
           greatest(count(*) FILTER (first), count(*) FILTER (NOT first), count(*) FILTER (first IS NULL)) AS most
    FROM verdicts
    GROUP BY ALL
), covered AS (
    SELECT prompt_id, count(*) AS verdicts FROM verdicts GROUP BY prompt_id
)
SELECT w.prompt_id, w.response_a, w.response_b
FROM waiting w
JOIN prompts p USING (prompt_id)
LEFT JOIN agreed a USING (response_a, response_b)
LEFT JOIN covered c ON c.prompt_id = w.prompt_id
ORDER BY coalesce(greatest(0, 2 * a.most - a.verdicts) / (a.verdicts + 1), 0), coalesce(a.verdicts, 0) DESC,
         coalesce(c.verdicts, 0), p.created_at, p.rowid, w.response_a, w.response_b

-- name: consensus_prompts
-- By what a verdict would tell of the consensus, the mean over a prompt's pairs; of an adjudicated prompt nothing.
WITH waiting AS ({open}), {judgements.worth}, judged AS (
    SELECT prompt_id, count(*) AS pairs, sum(worth) AS worth
    FROM consensus_differences
    WHERE criterion = $criterion AND prompt_id IN (SELECT prompt_id FROM waiting)
    GROUP BY prompt_id
), {judgements.sizes}
SELECT w.prompt_id
FROM waiting w
JOIN prompts p USING (prompt_id)
JOIN sizes s USING (prompt_id)
CROSS JOIN unjudged u
LEFT JOIN judged j USING (prompt_id)
ORDER BY CASE WHEN w.prompt_id IN (SELECT prompt_id FROM adjudicated) THEN 0.0
              ELSE (coalesce(j.worth, 0) + greatest(0, s.possible - coalesce(j.pairs, 0)) * u.worth) / s.possible END DESC,
         p.created_at, p.rowid

-- name: consensus_pairs
WITH waiting AS ({open}), {judgements.worth}, judged AS (
    SELECT least(x, y) AS response_a, greatest(x, y) AS response_b, worth
    FROM consensus_differences
    WHERE criterion = $criterion AND prompt_id IN (SELECT prompt_id FROM waiting)
)
SELECT w.prompt_id, w.response_a, w.response_b
FROM waiting w
JOIN prompts p USING (prompt_id)
CROSS JOIN unjudged u
LEFT JOIN judged j USING (response_a, response_b)
ORDER BY CASE WHEN w.prompt_id IN (SELECT prompt_id FROM adjudicated) THEN 0.0 ELSE coalesce(j.worth, u.worth) END DESC,
         p.created_at, p.rowid, w.response_a, w.response_b

-- name: worth
-- Of a pair that nobody has compared, and which prompts somebody has decided.
unjudged AS (
    SELECT coalesce(any_value(unjudged_worth), 1.0) AS worth FROM label_fits WHERE criterion = $criterion
), adjudicated AS (
    SELECT prompt_id FROM current_judgements WHERE criterion = $criterion AND source = 'adjudication'
)

-- name: votes
WITH verdicts AS (
    SELECT prompt_id, least(winner_id, loser_id) AS response_a, greatest(winner_id, loser_id) AS response_b,
           winner_id < loser_id AS first
    FROM preference_pairs
    WHERE criterion = $criterion AND annotator_kind <> 'ai'
    UNION ALL
    SELECT prompt_id, response_a, response_b, NULL
    FROM preference_ties
    WHERE criterion = $criterion AND annotator_kind <> 'ai'
)
SELECT prompt_id, response_a, response_b, count(*) FILTER (first), count(*) FILTER (NOT first),
       count(*) FILTER (first IS NULL)
FROM verdicts
GROUP BY ALL
ORDER BY ALL

-- name: written
SELECT count(*) FROM judgements WHERE criterion = $criterion

-- name: standing_count
SELECT count(*) FROM current_judgements WHERE criterion = $criterion

-- name: prompts_by_response
SELECT prompt_id, response_id FROM responses
WHERE response_id IN (SELECT unnest(from_json($responses, '["VARCHAR"]')))

-- name: written_by_others
SELECT count(*) FROM judgements WHERE annotator_id <> $annotator_id AND criterion = $criterion

-- name: judged_responses
SELECT count(DISTINCT response_id) FROM rankings WHERE $criteria IS NULL OR list_contains($criteria, criterion)

-- name: least_judged
WITH judged AS (
    SELECT prompt_id, count(*) AS times
    FROM current_judgements
    WHERE criterion = $criterion AND annotator_kind <> 'ai'
    GROUP BY prompt_id
)
SELECT r.prompt_id, list(r.response_id ORDER BY r.created_at, r.response_id)
FROM responses r
LEFT JOIN judged j USING (prompt_id)
GROUP BY r.prompt_id
HAVING min(hash(r.text)) <> max(hash(r.text))
ORDER BY any_value(coalesce(j.times, 0)), hash(r.prompt_id)
LIMIT $limit
