"""Two ways of judging the same responses beside each other: reliability, agreement, ties, time.

Prompts are the same in both ways, so that a difference of the two is taken on the same resampled prompts.

Shapes: `V` verdicts, `P` prompts, `R` resamples.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from engine.labels.agreement import Coefficient, alpha_ends, alpha_figure, draws, estimate


class Verdict(NamedTuple):
    """What one annotator said of two responses to a prompt in one way."""

    annotator: str
    prompt: str
    pair: tuple[str, str]
    verdict: int  # 1: the first is better, −1: the second is, 0: equal


@dataclass(frozen=True)
class Contrast:
    """A figure of two ways and the second's less the first's, each with a 95 % interval."""

    first: Coefficient
    second: Coefficient
    difference: Coefficient


Sums = Mapping[str, Sequence[float]]
"""Of each prompt the row that a figure is made of."""


def contrast(
    first: Sums,
    second: Sums,
    figure: Callable[[np.ndarray], np.ndarray],
    ends: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> Contrast:
    """A figure in both ways over the prompts that each has, the difference over those that both have.

    ends: the rows of one more prompt that is as bad and as good as can be, which no interval leaves out.
    """
    one, other = (_rows(sums, sorted(sums)) for sums in (first, second))
    both = sorted(first.keys() & second.keys())
    a_P, b_P = _rows(first, both), _rows(second, both)
    difference = Coefficient(math.nan, math.nan, math.nan, len(both))
    if both:
        drawn = draws(len(both))
        with np.errstate(invalid="ignore", divide="ignore"):
            value = float((figure(b_P.sum(axis=0)[None]) - figure(a_P.sum(axis=0)[None]))[0])
            spread = figure(drawn @ b_P) - figure(drawn @ a_P)
            a_ends, b_ends = ([figure(x.sum(axis=0)[None] + end)[0] for end in ends(x)] for x in (a_P, b_P))
            a, b = figure(a_P.sum(axis=0)[None])[0], figure(b_P.sum(axis=0)[None])[0]
        if not math.isnan(value):
            low, high = np.nanquantile(np.append(spread, value), (0.025, 0.975))
            low = min(low, b_ends[0] - a, b - a_ends[1])
            high = max(high, b_ends[1] - a, b - a_ends[0])
            difference = Coefficient(value, float(low), float(high), len(both))
    return Contrast(estimate(one, figure, *ends(one)), estimate(other, figure, *ends(other)), difference)


def _rows(sums: Sums, prompts: Sequence[str]) -> np.ndarray:
    width = len(next(iter(sums.values()))) if sums else 3
    return np.array([sums[prompt] for prompt in prompts], dtype=float).reshape(-1, width)


def reliability(first: Iterable[Verdict], second: Iterable[Verdict]) -> Contrast:
    """Krippendorff's α of each way, over pairs that two annotators or more have judged in it."""
    return contrast(_alpha_sums(first), _alpha_sums(second), alpha_figure, alpha_ends)


def _alpha_sums(verdicts: Iterable[Verdict]) -> dict[str, list[float]]:
    """Observed disagreement, verdicts and squares of each prompt, as `agreement.alpha` takes them."""
    said: dict[tuple[str, tuple[str, str]], list[int]] = defaultdict(list)
    for row in verdicts:
        said[row.prompt, row.pair].append(row.verdict)
    sums: dict[str, list[float]] = {}
    for (prompt, _), values in said.items():
        if (m := len(values)) > 1:
            squares, total = sum(v * v for v in values), sum(values)
            row = (2 * (m * squares - total * total) / (m - 1), m, squares)
            sums[prompt] = [x + y for x, y in zip(sums.get(prompt, [0.0] * 3), row, strict=True)]
    return sums


def share_figure(sums_R: np.ndarray) -> np.ndarray:
    """Sums of (counted, of how many), [R, 2] → [R]."""
    return np.asarray(np.divide(sums_R[:, 0], sums_R[:, 1]))


def share_ends(sums_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One more prompt of which nothing counts, and one of which all does."""
    size = sums_P[:, 1].mean() if len(sums_P) else 1.0
    return np.array([0.0, size]), np.array([size, size])


def ties(first: Iterable[Verdict], second: Iterable[Verdict]) -> Contrast:
    """Share of pairs that are called equal."""
    sums = ({}, {})  # type: tuple[dict[str, list[float]], dict[str, list[float]]]
    for mine, verdicts in zip(sums, (first, second), strict=True):
        for row in verdicts:
            _add(mine, row.prompt, float(row.verdict == 0))
    return contrast(*sums, share_figure, share_ends)


def repeated(
    first: tuple[Iterable[Verdict], Iterable[Verdict]], second: tuple[Iterable[Verdict], Iterable[Verdict]]
) -> Contrast:
    """How often an annotator says the same of a pair again, a tie against a preference one half.

    Of each way: labels, and repeats of some of them.
    """
    return contrast(*(_met(*way, same=True) for way in (first, second)), share_figure, share_ends)


def across(first: Iterable[Verdict], second: Iterable[Verdict], *, same_people: bool) -> Coefficient:
    """How often a verdict in one way agrees with one in the other, by the same annotator or by others."""
    sums = _met(first, second, same=same_people)
    rows = _rows(sums, sorted(sums)) if sums else np.zeros((0, 2))
    return estimate(rows, share_figure, *share_ends(rows))


def _met(
    one: Iterable[Verdict], other: Iterable[Verdict], *, same: bool
) -> dict[str, list[float]]:  # agreed, of how many; by prompt
    said: dict[tuple[str, tuple[str, str]], tuple[list[Verdict], list[Verdict]]] = defaultdict(
        lambda: ([], [])
    )
    for side, verdicts in enumerate((one, other)):
        for row in verdicts:
            said[row.prompt, row.pair][side].append(row)
    sums: dict[str, list[float]] = {}
    for (prompt, _), (mine, theirs) in said.items():
        for a, b in product(mine, theirs):
            if (a.annotator == b.annotator) == same:
                _add(sums, prompt, 1 - abs(a.verdict - b.verdict) / 2)
    return sums


def _add(sums: dict[str, list[float]], prompt: str, counted: float) -> None:
    row = sums.setdefault(prompt, [0.0, 0.0])
    row[0] += counted
    row[1] += 1.0
