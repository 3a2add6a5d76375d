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


class CrossedVerdict(NamedTuple):
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
    """A figure of each way, and their difference on the same resampled prompts.

    A prompt that one way lacks, as a repeat may, adds nothing to that way's sums.  ends: the rows of one more
    prompt that is as bad and as good as can be, which no interval leaves out.
    """
    one, other = (_rows(sums, sorted(sums)) for sums in (first, second))
    a, b = estimate(one, figure, *ends(one)), estimate(other, figure, *ends(other))
    value = b.value - a.value
    if math.isnan(value):
        return Contrast(a, b, Coefficient(math.nan, math.nan, math.nan, 0))
    prompts = sorted(first.keys() | second.keys())
    a_P, b_P = _rows(first, prompts), _rows(second, prompts)
    drawn = draws(len(prompts))
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = figure(drawn @ b_P) - figure(drawn @ a_P)
        (a_worst, a_best), (b_worst, b_best) = (
            [float(figure((rows.sum(axis=0) + end)[None])[0]) for end in ends(rows)] for rows in (one, other)
        )
    low, high = np.nanquantile(np.append(spread, value), (0.025, 0.975))
    low, high = min(low, b_worst - a.value, b.value - a_best), max(high, b_best - a.value, b.value - a_worst)
    return Contrast(a, b, Coefficient(value, float(low), float(high), len(prompts)))


def _rows(sums: Sums, prompts: Sequence[str]) -> np.ndarray:
    """A row a prompt, zeros where it has none."""
    width = len(next(iter(sums.values()))) if sums else 3
    return np.array([sums.get(prompt, [0.0] * width) for prompt in prompts], dtype=float).reshape(-1, width)


def reliability(first: Iterable[CrossedVerdict], second: Iterable[CrossedVerdict]) -> Contrast:
    """Krippendorff's α of each way, over pairs that two annotators or more have judged in it."""
    return contrast(_alpha_sums(first), _alpha_sums(second), alpha_figure, alpha_ends)


def _alpha_sums(verdicts: Iterable[CrossedVerdict]) -> dict[str, list[float]]:
    """Observed disagreement, verdicts and squares of each prompt, as `agreement.alpha` takes them."""
    said: dict[tuple[str, tuple[str, str]], list[int]] = defaultdict(list)
    for row in verdicts:
        said[row.prompt, row.pair].append(row.verdict)
    sums: dict[str, list[float]] = {}
    for (prompt, _), values in said.items():
        if (m := len(values)) > 1:
            squares, total = sum(v * v for v in values), sum(values)
            new = (2 * (m * squares - total * total) / (m - 1), float(m), float(squares))
            sums[prompt] = [x + y for x, y in zip(sums.get(prompt, [0.0] * 3), new, strict=True)]
    return sums


def share_figure(sums_R: np.ndarray) -> np.ndarray:
    """Sums of (counted, of how many), [R, 2] → [R]."""
    return np.asarray(np.divide(sums_R[:, 0], sums_R[:, 1]))


def share_ends(sums_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One more prompt of which nothing counts, and one of which all does."""
    size = sums_P[:, 1].mean() if len(sums_P) else 1.0
    return np.array([0.0, size]), np.array([size, size])


def ties(first: Iterable[CrossedVerdict], second: Iterable[CrossedVerdict]) -> Contrast:
    """Share of pairs that are called equal."""
    one: dict[str, list[float]] = {}
    other: dict[str, list[float]] = {}
    for mine, verdicts in ((one, first), (other, second)):
        for row in verdicts:
            _add(mine, row.prompt, float(row.verdict == 0))
    return contrast(one, other, share_figure, share_ends)


def repeated(
    first: tuple[Iterable[CrossedVerdict], Iterable[CrossedVerdict]],
    second: tuple[Iterable[CrossedVerdict], Iterable[CrossedVerdict]],
) -> Contrast:
    """How often an annotator says the same of a pair again, a tie against a preference one half.

    Of each way: labels, and repeats of some of them.
    """
    return contrast(_met(*first, same=True), _met(*second, same=True), share_figure, share_ends)


def across(
    first: Iterable[CrossedVerdict], second: Iterable[CrossedVerdict], *, same_people: bool
) -> Coefficient:
    """How often a verdict in one way agrees with one in the other, by the same annotator or by others."""
    sums = _met(first, second, same=same_people)
    rows = _rows(sums, sorted(sums)) if sums else np.zeros((0, 2))
    return estimate(rows, share_figure, *share_ends(rows))


def _met(
    one: Iterable[CrossedVerdict], other: Iterable[CrossedVerdict], *, same: bool
) -> dict[str, list[float]]:  # agreed, of how many; by prompt
    said: dict[tuple[str, tuple[str, str]], tuple[list[CrossedVerdict], list[CrossedVerdict]]] = defaultdict(
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
