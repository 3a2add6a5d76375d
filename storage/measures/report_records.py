"""What a reward model's report is made of: frozen records, one a kind of row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReportBasis:
    """What a reward model is measured on."""

    run_id: str | None
    annotator: str
    """Only this annotator's judgements count, as in training; '' takes everybody's."""
    splits_known: bool
    """Whether the run told which prompts it held out; otherwise all judged prompts are measured."""
    prompts: int
    pairs: int
    """Judged by people, scored by the model, not tied."""
    tied: int
    unscored: int
    """Judged pairs left out because the model has not scored both responses."""
    trained_pairs: int
    scored_as: str | None
    """The model's criterion that was measured; None when it has scored nothing."""
    backends: str | None
    responses: int
    cut: int = 0
    """Responses whose score is of a part: they are longer than the model reads."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over pairs, or over prompts for tau, with its 95 % interval by resampling prompts."""

    figure: str
    value: float
    low: float
    high: float
    n: int
    prompts: int


@dataclass(frozen=True, slots=True)
class UnseenBasis:
    """Splits by prompt on which the way of learning was tried."""

    splits: int
    deviation: float | None
    """Standard deviation of accuracy over the splits."""
    calibration_error: float | None


@dataclass(frozen=True, slots=True)
class CriterionFit:
    """A reward model against people's pairs of one criterion, on held-out prompts."""

    criterion: str
    scored_as: str | None
    accuracy: float | None
    log_loss: float | None
    longer: float | None
    pairs: int
    prompts: int


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Pairs whose preferred response was given a probability of `low` to `high`."""

    low: float
    high: float
    predicted: float
    observed: float
    pairs: int


@dataclass(frozen=True, slots=True)
class AnnotatorFit:
    """The model against one annotator's own verdicts, ties left out."""

    annotator: str
    kind: str
    accuracy: float
    log_loss: float
    pairs: int
    prompts: int
    with_others: float | None
    """How often this annotator agrees with most of the others; None where there are none."""
    with_others_pairs: int


@dataclass(frozen=True, slots=True)
class TauSpread:
    """Kendall's tau-b a prompt: `counts` in ten bins from -1 to 1."""

    prompts: int
    undefined: int
    mean: float | None
    quantiles: tuple[float, ...]
    """At 10, 25, 50, 75 and 90 %."""
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LengthCorrelation:
    """Pearson's, of score and characters, each less its prompt's mean."""

    correlation: float | None
    responses: int


@dataclass(frozen=True, slots=True)
class LengthRow:
    """A measured pair, better response first: difference of scores, log ratio of lengths."""

    prompt_id: str
    difference: float
    longer_by: float


@dataclass(frozen=True, slots=True)
class WrongPair:
    """A pair on which the reward model and people disagree."""

    prompt_id: str
    prompt: str
    better_id: str
    worse_id: str
    score_better: float
    score_worse: float
    probability: float
    """The model's for the response that people find better: below one half."""
    votes_better: int
    votes_worse: int
    votes_tie: int
    policy_better: str
    policy_worse: str
    length_better: int
    length_worse: int


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Held-out figures after learning from that many pairs."""

    pairs: int
    accuracy: float | None
    log_loss: float | None


@dataclass(frozen=True, slots=True)
class PolicyScores:
    """Scores of one policy's responses; `counts` in 20 bins from the lowest to the highest of all."""

    policy: str
    responses: int
    mean: float
    deviation: float | None
    quantiles: tuple[float, ...]
    """At 0, 5, 25, 50, 75, 95 and 100 %."""
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PairResponse:
    """One response of a pair that is looked at."""

    response_id: str
    policy: str
    text: str
    score: float | None
    uncertainty: float | None


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """1 the first response is better, -1 the second, 0 a tie."""

    annotator: str
    kind: str
    verdict: int
