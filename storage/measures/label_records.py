"""What is known of annotators, their agreement and the consensus: frozen records, one a kind of row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """What a standing judgement says of two responses; see the view pair_verdicts."""

    prompt_id: str
    x: str
    y: str
    annotator: str
    annotator_kind: str
    verdict: int
    first_shown: int
    weight: float
    adjudicated: bool


@dataclass(frozen=True, slots=True)
class LabelFit:
    """The model of annotators and responses as it was fitted last."""

    criterion: str
    judgements: int
    verdicts: int
    prompts: int
    driven_by: str
    mean_ability: float
    spread: float
    length: float
    fitted_at: datetime


@dataclass(frozen=True, slots=True)
class AnnotatorQuality:
    """An annotator's habits and abilities; shares with 95 % intervals, None where nothing tells."""

    annotator: str
    annotator_kind: str
    criterion: str
    judgements: int
    prompts: int
    verdicts: int
    ties: float
    shown: int
    prefers_first: float | None
    prefers_first_low: float | None
    prefers_first_high: float | None
    unequal: int
    prefers_longer: float | None
    prefers_longer_low: float | None
    prefers_longer_high: float | None
    repeats: int
    self_agreement: float | None
    self_agreement_low: float | None
    self_agreement_high: float | None
    median_seconds: float | None
    drives: bool | None
    slope: float | None
    slope_error: float | None
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    first: float | None
    first_low: float | None
    first_high: float | None
    longer: float | None
    longer_low: float | None
    longer_high: float | None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A prompt on which annotators contradict each other."""

    prompt_id: str
    text: str
    annotators: int
    compared: int
    contradicted: float
    disagreement: float
    unsettled: int
    """Pairs of responses on which the consensus is not yet sure."""
    adjudicated: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """Where one annotator's standing judgement puts a response."""

    annotator: str
    judgement_id: str
    kind: str
    response_id: str
    rank: int
    rating: float | None
    unordered: bool
    note: str | None
    source: str | None


@dataclass(frozen=True, slots=True)
class Quality:
    """The consensus on a response."""

    response_id: str
    quality: float
    error: float


@dataclass(frozen=True, slots=True)
class ConsensusPair:
    """The consensus on two responses, the better one first."""

    better_id: str
    worse_id: str
    difference: float
    low: float
    high: float
    probability: float
    settled: bool
    adjudicated: bool
    tied: bool


@dataclass(frozen=True, slots=True)
class SharedPrompt:
    """Two annotators on the pairs of a prompt that both have judged: sums, so that prompts can be
    resampled.
    """

    annotator_a: str
    annotator_b: str
    prompt_id: str
    pairs: int
    agreed: float
    ties_a: int
    ties_b: int
    tau: float | None


@dataclass(frozen=True, slots=True)
class ReliabilityPrompt:
    """What Krippendorff's alpha is the sum of; see the view reliability_by_prompt."""

    prompt_id: str
    week: date
    pairs: int
    values: int
    squares: int
    observed: float
