"""Agreement of annotators with intervals, from sums over prompts so that prompts can be resampled.

A resample of few prompts that all agree has no width.  So an interval always reaches as far as one more
prompt could move the figure: judged as chance would have it to the one side, in perfect agreement to the
other.

Shapes: `P` prompts, `R` resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
DRAWS = 4_000_000
"""Prompts drawn in all resamples together at most."""


@dataclass(frozen=True)
class Coefficient:
    """A figure with its 95 % interval; NaN where nothing tells."""

    value: float
    low: float
    high: float
    prompts: int


Figure = Callable[[np.ndarray], np.ndarray]
"""From sums [R, columns] to the figure [R]."""


def estimate(
    sums_P: np.ndarray, figure: Figure, worst: np.ndarray, best: np.ndarray, seed: int = 0
) -> Coefficient:
    """A figure of the summed rows, with a percentile interval over resampled prompts.

    sums_P: [P, columns]; worst and best: the row of one more prompt.
    """
    prompts = len(sums_P)
    total = sums_P.sum(axis=0)
    value = float(figure(total[None])[0]) if prompts else float("nan")
    if np.isnan(value):
        return Coefficient(value, value, value, prompts)
    drawn = draws(prompts, seed) @ sums_P
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = figure(drawn)
        ends = figure(np.stack([total + worst, total + best]))
    low, high = np.nanquantile(np.append(spread, value), (0.025, 0.975))
    return Coefficient(value, float(np.fmin(low, ends[0])), float(np.fmax(high, ends[1])), prompts)


def draws(prompts: int, seed: int = 0) -> np.ndarray:
    """How often each prompt is in each resample, [R, P]."""
    resamples = max(200, min(RESAMPLES, DRAWS // prompts))
    return np.random.default_rng(seed).multinomial(prompts, np.full(prompts, 1 / prompts), resamples)


def agreement(agreed_P: np.ndarray, pairs_P: np.ndarray) -> Coefficient:
    """Share of pairs on which two agree, a tie against a preference one half."""
    pairs = pairs_P.mean() if len(pairs_P) else 0.0
    return estimate(
        np.stack([agreed_P, pairs_P], axis=1),
        lambda sums: np.divide(sums[:, 0], sums[:, 1]),
        np.array([0.0, pairs]),
        np.array([pairs, pairs]),
    )


def kappa(
    agreed_P: np.ndarray, pairs_P: np.ndarray, ties_a_P: np.ndarray, ties_b_P: np.ndarray
) -> Coefficient:
    """Cohen's κ with weights 1, ½, 0; chance is (1 + t_a t_b) / 2, for pairs have no first response."""
    sums_P = np.stack([agreed_P, pairs_P, ties_a_P, ties_b_P], axis=1).astype(float)
    mean = sums_P.mean(axis=0) if len(sums_P) else np.zeros(4)

    def figure(sums: np.ndarray) -> np.ndarray:
        agreed, pairs, a, b = sums.T
        chance = (1 + a * b / np.square(pairs)) / 2
        return np.where(chance < 1, (agreed / pairs - chance) / np.where(chance < 1, 1 - chance, 1.0), np.nan)

    by_chance = (1 + mean[2] * mean[3] / max(mean[1], 1e-12) ** 2) / 2 * mean[1]
    return estimate(sums_P, figure, np.array([by_chance, *mean[1:]]), np.array([mean[1], *mean[1:]]))


def mean_tau(tau_P: np.ndarray) -> Coefficient:
    """Mean over prompts of Kendall's τ-b; NaN where somebody ties everything is left out."""
    defined_P = tau_P[np.isfinite(tau_P)]
    return estimate(
        np.stack([defined_P, np.ones_like(defined_P)], axis=1),
        lambda sums: np.divide(sums[:, 0], sums[:, 1]),
        np.array([0.0, 1.0]),
        np.array([1.0, 1.0]),
    )


def alpha(observed_P: np.ndarray, values_P: np.ndarray, squares_P: np.ndarray) -> Coefficient:
    """Krippendorff's α with squared differences of 1, 0, −1, every pair taken both ways round.

    observed: Σ (v − w)² / (m − 1) over ordered couples of the m verdicts on a pair; values: Σ m; squares: Σ
    v². α = 1 − D_o/D_e, D_o = observed / values, D_e = 4 squares / (2 values − 1) (Krippendorff, Content
    Analysis, 2019, ch. 12; the mirrored verdicts have mean 0).
    """
    sums_P = np.stack([observed_P, values_P, squares_P], axis=1).astype(float)
    return estimate(sums_P, alpha_figure, *alpha_ends(sums_P))


def alpha_figure(sums_R: np.ndarray) -> np.ndarray:
    """α of sums of (observed, values, squares), [R, 3] → [R]; NaN where nothing was to be expected."""
    observed, values, squares = sums_R.T
    expected = 4 * squares / (2 * values - 1)
    return np.where(expected > 0, 1 - observed / values / np.where(expected > 0, expected, 1.0), np.nan)


def alpha_ends(sums_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One more prompt on which annotators agree as by chance, and one on which they agree perfectly."""
    mean = sums_P.mean(axis=0) if len(sums_P) else np.zeros(3)
    by_chance = 4 * mean[2] / max(2 * mean[1] - 1, 1e-12) * mean[1]
    return np.array([by_chance, *mean[1:]]), np.array([0.0, *mean[1:]])
