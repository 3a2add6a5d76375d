"""Frozen records of steps of responses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NewStepJudgement:
    """What an annotator says of the steps of a response."""

    response_id: str
    annotator: str
    separator: str
    ends: tuple[int, ...]
    """Where each step ends, in characters."""
    labels: tuple[int | None, ...]
    """Of each step 1 good, 0 neutral, -1 bad, None not judged; no steps at all take a judgement back."""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StepJudgement:
    """What stands of an annotator on the steps of a response."""

    separator: str
    ends: tuple[int, ...]
    labels: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class StepLabel:
    """One step of a response as one annotator judged it."""

    annotator: str
    annotator_kind: str
    step: int
    ends_at: int
    text: str
    label: int


@dataclass(frozen=True, slots=True)
class StepScore:
    """Log-odds that a step is good, at its end."""

    step: int
    ends_at: int
    score: float


@dataclass(frozen=True, slots=True)
class SteppedResponse:
    """A response with its prompt, its policy kept back."""

    response_id: str
    prompt_id: str
    prompt: str
    text: str
