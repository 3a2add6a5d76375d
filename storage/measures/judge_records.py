"""What a judge's calibration is made of: frozen records, one a kind of row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JudgeCounts:
    """What a model has judged by one criterion."""

    judge: str
    criterion: str
    judgements: int
    prompts: int


@dataclass(frozen=True, slots=True)
class ConfusionRow:
    """What a model says where people prefer one response (decided), or where they tie.

    same, tie, other: pairs where it prefers the people's choice, none, another one.
    """

    decided: bool
    same: int
    tie: int
    other: int


@dataclass(frozen=True, slots=True)
class LabelCount:
    """Judgements of one kind of annotator; `judge` names a model."""

    kind: str
    judge: str
    judgements: int
