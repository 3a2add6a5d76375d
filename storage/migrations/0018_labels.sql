-- What annotators' verdicts say together.  Shares have intervals by Wilson's formula, in which the verdicts of one
-- ranking count as many as they tell (weight).

-- Wilson's 95 % interval of a share of so many trials (1927); never of no width.
CREATE MACRO wilson_low(share, trials) AS
    greatest(0, (share + 1.920729 / trials - 1.959964 * sqrt((share * (1 - share) + 0.960365 / trials) / trials))
                / (1 + 3.841459 / trials));
CREATE MACRO wilson_high(share, trials) AS
    least(1, (share + 1.920729 / trials + 1.959964 * sqrt((share * (1 - share) + 0.960365 / trials) / trials))
             / (1 + 3.841459 / trials));

-- Every verdict of a standing judgement on two responses, x before y by id: 1 x is better, -1 y is, 0 a tie.
-- first_shown: 1 x stood before y on the screen, -1 after it, NULL nobody knows.  longer: 1 x has more characters, -1
-- fewer, 0 as many.  weight makes the pairs of one judgement tell as much as the judgement: 3 / (K + 1) for a ranking of
-- K, 1 for a pair (docs/decisions/0024-labels.md).
CREATE VIEW pair_verdicts AS
WITH placed AS (
    SELECT *, count(*) OVER judged AS size,
           count(*) OVER judged - 2 * count(*) OVER (PARTITION BY prompt_id, judgement_id ORDER BY rank)
               + count(*) OVER (PARTITION BY prompt_id, judgement_id, rank) AS balance,
           count(*) OVER (PARTITION BY prompt_id, judgement_id, rank) AS alike,
           bool_or(unordered) OVER judged AS partly
    FROM rankings
    WINDOW judged AS (PARTITION BY prompt_id, judgement_id)
), counted AS (
    SELECT *, CASE WHEN NOT partly THEN 3.0 / (size + 1)
                   WHEN sum(balance * balance) OVER judged = 0 THEN 1.0
                   ELSE 2.0 * (size * (size - 1) / 2 - sum(if(unordered, (alike - 1) / 2, 0)) OVER judged)
                        / sum(balance * balance) OVER judged END AS weight
    FROM placed
    WINDOW judged AS (PARTITION BY prompt_id, judgement_id)
)
SELECT a.prompt_id, a.judgement_id, a.criterion, a.annotator, a.annotator_kind, a.kind, a.response_id AS x,
       b.response_id AS y, sign(b.rank - a.rank)::INTEGER AS verdict, sign(b.position - a.position)::INTEGER AS first_shown,
       sign(length(r.text) - length(s.text))::INTEGER AS longer, a.weight, a.created_at
FROM counted a
JOIN counted b ON b.judgement_id = a.judgement_id AND b.prompt_id = a.prompt_id AND b.response_id > a.response_id
JOIN responses r ON r.response_id = a.response_id
JOIN responses s ON s.response_id = b.response_id
WHERE a.rank <> b.rank OR NOT a.unordered;

-- Repeats: the same annotator on the same two responses in two judgements of one kind.  agreement is 1 for the same
-- verdict, 1/2 where exactly one was a tie.
CREATE VIEW self_agreement AS
WITH repeated AS (
    SELECT a.annotator, a.criterion, a.prompt_id, 1 - abs(a.verdict - b.verdict) / 2 AS agreed, least(a.weight, b.weight) AS weight
    FROM pair_verdicts a
    JOIN pair_verdicts b ON b.annotator = a.annotator AND b.criterion = a.criterion AND b.kind = a.kind AND b.x = a.x
                        AND b.y = a.y AND b.judgement_id > a.judgement_id
)
SELECT annotator, criterion, count(*) AS pairs, count(DISTINCT prompt_id) AS prompts, avg(agreed) AS agreement,
       wilson_low(avg(agreed), sum(weight)) AS low, wilson_high(avg(agreed), sum(weight)) AS high
FROM repeated
GROUP BY ALL;

-- What an annotator's verdicts look like, whatever others say: how often the first shown and the longer response were
-- preferred, ties left out, and how long a judgement took.
CREATE VIEW annotator_habits AS
WITH said AS (
    SELECT annotator, annotator_kind, criterion, count(*) AS verdicts, count(DISTINCT prompt_id) AS prompts,
           avg((verdict = 0)::INTEGER) AS ties,
           count(*) FILTER (verdict * first_shown <> 0) AS shown,
           avg((verdict = first_shown)::INTEGER) FILTER (verdict * first_shown <> 0) AS prefers_first,
           sum(weight) FILTER (verdict * first_shown <> 0) AS shown_weight,
           count(*) FILTER (verdict * longer <> 0) AS unequal,
           avg((verdict = longer)::INTEGER) FILTER (verdict * longer <> 0) AS prefers_longer,
           sum(weight) FILTER (verdict * longer <> 0) AS unequal_weight
    FROM pair_verdicts
    GROUP BY ALL
), took AS (
    SELECT annotator, criterion, count(*) AS judgements, median(seconds) AS median_seconds
    FROM current_judgements
    GROUP BY ALL
)
SELECT s.annotator, s.annotator_kind, s.criterion, t.judgements, s.prompts, s.verdicts, s.ties,
       s.shown, s.prefers_first, wilson_low(s.prefers_first, s.shown_weight) AS prefers_first_low,
       wilson_high(s.prefers_first, s.shown_weight) AS prefers_first_high,
       s.unequal, s.prefers_longer, wilson_low(s.prefers_longer, s.unequal_weight) AS prefers_longer_low,
       wilson_high(s.prefers_longer, s.unequal_weight) AS prefers_longer_high,
       coalesce(r.pairs, 0) AS repeats, r.agreement AS self_agreement, r.low AS self_agreement_low,
       r.high AS self_agreement_high, t.median_seconds
FROM said s
JOIN took t USING (annotator, criterion)
LEFT JOIN self_agreement r USING (annotator, criterion);

-- Two annotators prompt by prompt, over the pairs that both have judged; one who judged a pair more than once counts
-- with the sign of the mean.  week is that of the later judgement, the Monday of it.
CREATE VIEW shared_verdicts AS
WITH settled AS (
    SELECT prompt_id, criterion, annotator, x, y, sign(avg(verdict))::INTEGER AS verdict, max(created_at) AS judged_at,
           max(weight) AS weight
    FROM pair_verdicts
    GROUP BY ALL
)
SELECT a.prompt_id, a.criterion, a.annotator AS annotator_a, b.annotator AS annotator_b,
       date_trunc('week', greatest(a.judged_at, b.judged_at))::DATE AS week, a.x, a.y, a.verdict AS verdict_a, b.verdict AS verdict_b,
       least(a.weight, b.weight) AS weight
FROM settled a
JOIN settled b ON b.criterion = a.criterion AND b.x = a.x AND b.y = a.y AND b.annotator > a.annotator;

-- Kendall's tau-b of two annotators on each prompt; NULL where one of them ties everything.
CREATE VIEW annotator_taus AS
SELECT prompt_id, criterion, annotator_a, annotator_b, count(*) AS pairs,
       sum(verdict_a * verdict_b) / nullif(sqrt(count(*) FILTER (verdict_a <> 0) * count(*) FILTER (verdict_b <> 0)), 0) AS tau
FROM shared_verdicts
GROUP BY ALL;

-- Agreement week by week; see annotator_agreement for what agreement and kappa are.
CREATE VIEW agreement_by_week AS
SELECT week, criterion, annotator_a, annotator_b, count(DISTINCT prompt_id) AS prompts, count(*) AS pairs,
       avg(1 - abs(verdict_a - verdict_b) / 2) AS agreement,
       (avg(1 - abs(verdict_a - verdict_b) / 2) - (1 + avg((verdict_a = 0)::INTEGER) * avg((verdict_b = 0)::INTEGER)) / 2)
           / nullif(1 - (1 + avg((verdict_a = 0)::INTEGER) * avg((verdict_b = 0)::INTEGER)) / 2, 0) AS kappa,
       wilson_low(avg(1 - abs(verdict_a - verdict_b) / 2), sum(weight)) AS low,
       wilson_high(avg(1 - abs(verdict_a - verdict_b) / 2), sum(weight)) AS high
FROM shared_verdicts
GROUP BY week, criterion, annotator_a, annotator_b;

-- What Krippendorff's alpha of a prompt's pairs is the sum of, over pairs that two annotators or more have judged.
-- Which response of a pair comes first means nothing, so that every pair is taken both ways round; a tie lies halfway.
-- values: how many verdicts; observed: the sum of (v - w)² / (m - 1) over ordered couples of the m verdicts on a pair.
CREATE VIEW reliability_by_prompt AS
WITH settled AS (
    SELECT prompt_id, criterion, annotator, x, y, sign(avg(verdict))::INTEGER AS verdict, max(created_at) AS judged_at
    FROM pair_verdicts
    WHERE annotator_kind <> 'rule'
    GROUP BY ALL
), pairs AS (
    SELECT prompt_id, criterion, x, y, date_trunc('week', max(judged_at))::DATE AS week, count(*) AS m,
           sum(verdict * verdict) AS squares, sum(verdict) AS total
    FROM settled
    GROUP BY prompt_id, criterion, x, y
    HAVING count(*) > 1
)
SELECT prompt_id, criterion, week, count(*) AS pairs, sum(m)::BIGINT AS "values", sum(squares)::BIGINT AS squares,
       sum(2 * (m * squares - total * total) / (m - 1)) AS observed
FROM pairs
GROUP BY prompt_id, criterion, week;

-- Krippendorff's alpha (interval) = 1 - observed disagreement / that expected by chance.
CREATE MACRO alpha(observed, n, squares) AS 1 - (observed / n) / nullif(4 * squares / (2 * n - 1), 0);
CREATE VIEW reliability AS
SELECT criterion, count(DISTINCT prompt_id) AS prompts, sum(pairs)::BIGINT AS pairs, sum("values")::BIGINT AS verdicts,
       alpha(sum(observed), sum("values"), sum(squares)) AS alpha
FROM reliability_by_prompt
GROUP BY criterion;
CREATE VIEW reliability_by_week AS
SELECT week, criterion, count(DISTINCT prompt_id) AS prompts, sum(pairs)::BIGINT AS pairs, sum("values")::BIGINT AS verdicts,
       alpha(sum(observed), sum("values"), sum(squares)) AS alpha
FROM reliability_by_prompt
GROUP BY week, criterion;

-- Prompts on which annotators contradict each other: contradicted counts the couples of annotators and pairs of
-- responses with opposite verdicts, half where one said tie.
CREATE VIEW disagreements AS
SELECT s.prompt_id, s.criterion, count(*) AS compared, sum(abs(s.verdict_a - s.verdict_b) / 2) AS contradicted,
       avg(abs(s.verdict_a - s.verdict_b) / 2) AS disagreement,
       (SELECT count(DISTINCT annotator) FROM current_judgements c
        WHERE c.prompt_id = s.prompt_id AND c.criterion = s.criterion) AS annotators,
       EXISTS (SELECT 1 FROM current_judgements c
               WHERE c.prompt_id = s.prompt_id AND c.criterion = s.criterion AND c.source = 'adjudication') AS adjudicated
FROM shared_verdicts s
GROUP BY s.prompt_id, s.criterion;

-- The model of annotators and responses as it was fitted last, one a criterion (engine/labels/model.py); written anew by
-- every fit.  judgements: how many rows of judgements there were, so that a later number says that it is out of date.
CREATE TABLE label_fits (
    criterion    VARCHAR PRIMARY KEY,
    judgements   BIGINT NOT NULL,
    verdicts     BIGINT NOT NULL,
    prompts      BIGINT NOT NULL,
    driven_by    VARCHAR NOT NULL,              -- people: their verdicts make the consensus; all: nobody else has judged
    mean_ability DOUBLE NOT NULL,               -- μ
    spread       DOUBLE NOT NULL,               -- τ
    length       DOUBLE NOT NULL,               -- γ, in deviations of quality for twice the length
    fitted_at    TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);

-- slope is β with its standard error: 0 a coin, below 0 the wrong way round.  accuracy is the chance to name the better of
-- two responses that differ as usual; first and longer are the chance to prefer the one shown first, or the one twice as
-- long (beyond what all annotators think of length), of two that are equally good.  All with 95 % intervals.
CREATE TABLE annotator_fits (
    criterion     VARCHAR NOT NULL,
    annotator_id  VARCHAR NOT NULL,
    drives        BOOLEAN NOT NULL,             -- whether these verdicts make the consensus
    verdicts      BIGINT NOT NULL,
    slope         DOUBLE NOT NULL,
    slope_error   DOUBLE NOT NULL,
    accuracy      DOUBLE NOT NULL,
    accuracy_low  DOUBLE NOT NULL,
    accuracy_high DOUBLE NOT NULL,
    first         DOUBLE NOT NULL,
    first_low     DOUBLE NOT NULL,
    first_high    DOUBLE NOT NULL,
    longer        DOUBLE NOT NULL,
    longer_low    DOUBLE NOT NULL,
    longer_high   DOUBLE NOT NULL,
    ties          DOUBLE NOT NULL,              -- chance to tie two that are equally good
    PRIMARY KEY (criterion, annotator_id)
);

-- quality is in standard deviations of the responses to a prompt; error is its standard deviation.
CREATE TABLE consensus_qualities (
    criterion   VARCHAR NOT NULL,
    prompt_id   VARCHAR NOT NULL,
    response_id VARCHAR NOT NULL,
    quality     DOUBLE NOT NULL,
    error       DOUBLE NOT NULL,
    PRIMARY KEY (criterion, response_id)
);

-- Every two judged responses to a prompt.  probability that x is better, given all verdicts; worth: what one more verdict
-- of an average annotator would tell, in nats.
CREATE TABLE consensus_differences (
    criterion   VARCHAR NOT NULL,
    prompt_id   VARCHAR NOT NULL,
    x           VARCHAR NOT NULL,
    y           VARCHAR NOT NULL,
    difference  DOUBLE NOT NULL,
    error       DOUBLE NOT NULL,
    probability DOUBLE NOT NULL,
    worth       DOUBLE NOT NULL,
    PRIMARY KEY (criterion, x, y)
);

-- Annotators with habits and, where the model has been fitted, abilities.
CREATE VIEW annotator_quality AS
SELECT h.*, f.drives, f.slope, f.slope_error, f.accuracy, f.accuracy_low, f.accuracy_high, f.first, f.first_low, f.first_high,
       f.longer, f.longer_low, f.longer_high
FROM annotator_habits h
JOIN annotators a ON a.name = h.annotator
LEFT JOIN annotator_fits f ON f.annotator_id = a.annotator_id AND f.criterion = h.criterion;

-- The consensus on two responses, the better one first, with its interval; settled where it is at least 95 % sure.
-- An adjudication decides what it says.
CREATE VIEW consensus AS
WITH adjudicated AS (
    SELECT v.criterion, v.x, v.y, arg_max(v.verdict, v.created_at) AS verdict
    FROM pair_verdicts v
    JOIN current_judgements c ON c.judgement_id = v.judgement_id
    WHERE c.source = 'adjudication'
    GROUP BY ALL
)
SELECT d.criterion, d.prompt_id, if(turned, d.y, d.x) AS better_id, if(turned, d.x, d.y) AS worse_id,
       if(turned, -1, 1) * d.difference AS difference, d.error,
       if(turned, -1, 1) * d.difference - 1.959964 * d.error AS low, if(turned, -1, 1) * d.difference + 1.959964 * d.error AS high,
       if(turned, 1 - d.probability, d.probability) AS probability,
       a.verdict IS NOT NULL OR greatest(d.probability, 1 - d.probability) >= 0.95 AS settled,
       a.verdict IS NOT NULL AS adjudicated, coalesce(a.verdict = 0, false) AS tied, d.worth
FROM (SELECT d.*, coalesce(nullif(a.verdict, 0), if(d.difference < 0, -1, 1)) < 0 AS turned
      FROM consensus_differences d LEFT JOIN adjudicated a ON a.criterion = d.criterion AND a.x = d.x AND a.y = d.y) d
LEFT JOIN adjudicated a ON a.criterion = d.criterion AND a.x = d.x AND a.y = d.y;
