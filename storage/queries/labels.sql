-- name: verdicts
SELECT v.prompt_id, v.x, v.y, v.annotator, v.annotator_kind, v.verdict, coalesce(v.first_shown, 0), v.weight,
       coalesce(c.source = 'adjudication', false)
FROM pair_verdicts v
JOIN judgements c ON c.judgement_id = v.judgement_id
WHERE v.criterion = $criterion
ORDER BY v.prompt_id, v.judgement_id, v.x, v.y

-- name: characters
SELECT response_id, length(text)
FROM responses
WHERE response_id IN (SELECT i.response_id FROM judgement_items i JOIN current_judgements c USING (judgement_id)
                      WHERE c.criterion = $criterion)

-- name: criteria
SELECT criterion FROM current_judgements GROUP BY criterion ORDER BY count(*) DESC, criterion

-- name: fit_of
SELECT criterion, judgements, verdicts, prompts, driven_by, mean_ability, spread, length, fitted_at
FROM label_fits
WHERE criterion = $criterion

-- name: forget_fit
DELETE FROM label_fits WHERE criterion = $criterion

-- name: forget_annotators
DELETE FROM annotator_fits WHERE criterion = $criterion

-- name: forget_qualities
DELETE FROM consensus_qualities WHERE criterion = $criterion

-- name: forget_differences
DELETE FROM consensus_differences WHERE criterion = $criterion

-- name: keep_fit
INSERT INTO label_fits (criterion, judgements, verdicts, prompts, driven_by, mean_ability, spread, length, unjudged_worth)
VALUES ($criterion, $judgements, $verdicts, $prompts, $driven_by, $mean_ability, $spread, $length, $unjudged_worth)

-- name: keep_annotators
INSERT INTO annotator_fits (criterion, annotator_id, drives, verdicts, slope, slope_error, accuracy, accuracy_low,
                            accuracy_high, first, first_low, first_high, longer, longer_low, longer_high, ties)
SELECT criterion, annotator_id, drives, verdicts, slope, slope_error, accuracy, accuracy_low, accuracy_high, first,
       first_low, first_high, longer, longer_low, longer_high, ties
FROM arrived

-- name: keep_qualities
INSERT INTO consensus_qualities (criterion, prompt_id, response_id, quality, error)
SELECT criterion, prompt_id, response_id, quality, error FROM arrived

-- name: keep_differences
INSERT INTO consensus_differences (criterion, prompt_id, x, y, difference, error, probability, worth)
SELECT criterion, prompt_id, x, y, difference, error, probability, worth FROM arrived

-- name: annotators
SELECT annotator, annotator_kind, criterion, judgements, prompts, verdicts, ties, shown, prefers_first,
       prefers_first_low, prefers_first_high, unequal, prefers_longer, prefers_longer_low, prefers_longer_high, repeats,
       self_agreement, self_agreement_low, self_agreement_high, median_seconds, drives, slope, slope_error, accuracy,
       accuracy_low, accuracy_high, first, first_low, first_high, longer, longer_low, longer_high
FROM annotator_quality
WHERE criterion = $criterion
ORDER BY accuracy DESC NULLS LAST, annotator

-- name: disagreements
WITH unsettled AS (
    SELECT prompt_id, count(*) FILTER (NOT settled) AS pairs FROM consensus WHERE criterion = $criterion GROUP BY prompt_id
)
SELECT d.prompt_id, p.text, d.annotators, d.compared, d.contradicted, d.disagreement, coalesce(u.pairs, 0), d.adjudicated
FROM disagreements d
JOIN prompts p USING (prompt_id)
LEFT JOIN unsettled u USING (prompt_id)
WHERE d.criterion = $criterion AND d.contradicted > 0
ORDER BY d.adjudicated, d.disagreement DESC, d.compared DESC, d.prompt_id
LIMIT $limit OFFSET $offset

-- name: count_disagreements
SELECT count(*), count(*) FILTER (NOT adjudicated) FROM disagreements WHERE criterion = $criterion AND contradicted > 0

-- name: placed
SELECT r.annotator, r.judgement_id, r.kind, r.response_id, r.rank, r.rating, r.unordered, c.note, c.source
FROM rankings r
JOIN current_judgements c USING (judgement_id)
WHERE r.prompt_id = $prompt_id AND r.criterion = $criterion
ORDER BY c.created_at, r.annotator, r.judgement_id, r.rank, r.response_id

-- name: qualities
SELECT response_id, quality, error
FROM consensus_qualities
WHERE prompt_id = $prompt_id AND criterion = $criterion
ORDER BY quality DESC, response_id

-- name: consensus
SELECT better_id, worse_id, difference, low, high, probability, settled, adjudicated, tied
FROM consensus
WHERE prompt_id = $prompt_id AND criterion = $criterion
ORDER BY better_id, worse_id

-- name: shared
SELECT s.annotator_a, s.annotator_b, s.prompt_id, count(*), sum(1 - abs(s.verdict_a - s.verdict_b) / 2),
       count(*) FILTER (s.verdict_a = 0), count(*) FILTER (s.verdict_b = 0),
       sum(s.verdict_a * s.verdict_b)
           / nullif(sqrt(count(*) FILTER (s.verdict_a <> 0) * count(*) FILTER (s.verdict_b <> 0)), 0)
FROM shared_verdicts s
WHERE s.criterion = $criterion
GROUP BY s.annotator_a, s.annotator_b, s.prompt_id
ORDER BY s.annotator_a, s.annotator_b, s.prompt_id

-- name: reliability
SELECT prompt_id, week, pairs, "values", squares, observed
FROM reliability_by_prompt
WHERE criterion = $criterion
ORDER BY week, prompt_id
