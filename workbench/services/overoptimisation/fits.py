"""Curves that proxy and gold reward follow with distance from the reference, and where gold is highest.

Gao, Schulman and Hilton, "Scaling Laws for Reward Model Overoptimization" (arXiv 2210.10760), eq. 1 and 2,
with d = √KL in nats: best of n has R(d) = R₀ + d (α − β d), policy learning R(d) = R₀ + d (α − β ln d).
They set R₀ = 0 by measuring from the reference policy; here it is fitted, because the first score is as
noisy as every other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Method = Literal["best of n", "policy learning"]
Pairs = Sequence[tuple[float, float]]
FEWEST = 3
"""Three coefficients need three different distances."""
FIGURES = 12
"""Of a fitted number; those after them are rounding."""
SMALLEST = 290
"""Decimal exponent, negated, from which on smaller numbers are rounded alike: 10³⁰⁹ is infinite."""


@dataclass(frozen=True, slots=True)
class Fit:
    """R(d) = origin + d (α − β d) for best of n, origin + d (α − β ln d) for policy learning."""

    method: Method
    alpha: float
    beta: float
    origin: float
    points: int
    error: float
    """Root of the mean squared residual, in the score's unit."""

    def at(self, d: float) -> float:
        """The fitted score at d = √KL ≥ 0."""
        if d <= 0:
            return self.origin
        return self.origin + d * (self.alpha - self.beta * (d if self.method == "best of n" else math.log(d)))

    @property
    def peak(self) -> float | None:
        """The d > 0 of the highest score: α / 2β, or exp(α/β − 1); None where the curve has no maximum."""
        if self.beta <= 0:
            return None
        if self.method == "best of n":
            return self.alpha / (2 * self.beta) if self.alpha > 0 else None
        exponent = self.alpha / self.beta - 1
        return math.exp(exponent) if exponent < 50 else None


def fit(method: Method, pairs: Pairs) -> Fit | None:
    """Least squares over (d, score), linear in origin, α and β; None with fewer than three different d."""
    import numpy as np

    points = [(d, score) for d, score in pairs if math.isfinite(d) and math.isfinite(score) and d >= 0]
    if len({round(d, 9) for d, _ in points}) < FEWEST:
        return None
    d_N = np.array([d for d, _ in points])
    scores_N = np.array([score for _, score in points])
    bend_N = d_N**2 if method == "best of n" else d_N * np.log(np.where(d_N > 0, d_N, 1.0))
    design_N_3 = np.stack([np.ones_like(d_N), d_N, -bend_N], axis=1)
    widths = np.abs(design_N_3).max(axis=0)
    solution, _, rank, _ = np.linalg.lstsq(design_N_3 / widths, scores_N, rcond=None)
    if rank < design_N_3.shape[1]:
        return None
    # What rounding leaves differs from processor to processor: numbers are cut where it begins.
    digits = _digits(float(np.abs(scores_N).max()))
    origin, alpha, beta = (float(value) for value in np.round(solution, digits) / widths)
    error = float(np.sqrt(np.mean((design_N_3 @ (solution / widths) - scores_N) ** 2)))
    return Fit(method, alpha, beta, origin, len(points), round(error, digits))


def _digits(size: float) -> int:
    """Decimals to which a number of about `size` is more than rounding."""
    return FIGURES - max(-SMALLEST, math.ceil(math.log10(size))) if size > 0 else FIGURES


@dataclass(frozen=True, slots=True)
class Peak:
    """The distance at which the gold score is highest."""

    d: float
    score: float
    fitted: bool
    """From the fitted curve, else the best point measured."""
    passed: bool
    """The measured points reach beyond it: more optimisation makes the policy worse."""


def find_peak(gold: Pairs, curve: Fit | None) -> Peak | None:
    """The fitted maximum where it lies within what was measured, else the best point measured.

    A fitted curve that still rises at the last point has no peak to pass, wherever noise put the best point.
    """
    if not gold:
        return None
    farthest = max(d for d, _ in gold)
    if curve is not None and curve.peak is not None and curve.peak <= farthest:
        return Peak(curve.peak, curve.at(curve.peak), fitted=True, passed=True)
    d, score = max(gold, key=lambda pair: pair[1])
    return Peak(d, score, fitted=False, passed=curve is None and d < farthest)
