"""Reward models measured on files of judgements: frozen records, one a kind of row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class BenchmarkAbout:
    """What was measured on what: a row of `benchmarks`."""

    name: str
    reward_model_id: str
    criterion: str
    scored_as: str
    backend: str
    split: str | None
    path: str
    preset: str | None
    mapping: str
    licence: str | None
    origin: str | None
    rows: int
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    """A comparison with the scores of its responses, the good ones first."""

    prompt_id: str
    subset: str
    kind: str
    place: str
    external_id: str | None
    votes: tuple[int, int, int]
    """Annotators who say so, who say the opposite, who say tie."""
    good: int
    """How many of the responses are good ones."""
    policies: tuple[str, ...]
    characters: tuple[int, ...]
    scores: tuple[float, ...]
    cut: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class BenchmarkFigure:
    """A mean over comparisons, or over the parts of a level, with its 95 % interval by resampling prompts."""

    level: str
    """all, mean, section or subset."""
    part: str
    figure: str
    value: float
    low: float | None
    high: float | None
    n: int
    prompts: int


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The newest measurement of a reward model on a benchmark."""

    benchmark_id: str
    reward_model: str
    name: str
    criterion: str
    split: str | None
    backend: str
    preset: str | None
    comparisons: int
    prompts: int
    learned: int
    """Comparisons on prompts that the reward model's own run learned from."""
    cut: int
    """Comparisons of which a response is longer than the reward model reads."""
    left_out: Mapping[str, int]
    measured_at: datetime
    figures: tuple[BenchmarkFigure, ...] = field(default=())

    def figure(self, name: str, level: str = "all", part: str = "") -> BenchmarkFigure | None:
        """One figure of a part; None where there is none, as longer_loses where no longer response loses."""
        wanted = (level, part, name)
        return next((f for f in self.figures if (f.level, f.part, f.figure) == wanted), None)

    def parts(self, level: str) -> tuple[str, ...]:
        """The subsets, or the sections."""
        return tuple(dict.fromkeys(f.part for f in self.figures if f.level == level))
