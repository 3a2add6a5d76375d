"""Logistic regression of who wins a pair on differences of what is known about the two responses."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from workbench.services.statistics import Z_95

ROUNDS = 50
ENOUGH = 1e-10  # a Newton step shorter than this has arrived
WIDEST = 50.0  # coefficients beyond it mean that the pairs are separable and the fit runs away

Vector = tuple[float, float]


@dataclass(frozen=True)
class PairFit:
    """P(first wins) = σ(a·score + b·length), features a standard deviation each, no intercept.

    Intervals are 95 %, from the sandwich covariance with prompts as clusters (Liang & Zeger 1986): pairs of
    one prompt are not independent.
    """

    score: float
    """Log-odds of winning a standard deviation of score difference is worth when lengths are alike."""
    score_low: float
    score_high: float
    length: float
    """The same for the log ratio of lengths when scores are alike."""
    length_low: float
    length_high: float
    length_alone: float
    """The same for the log ratio of lengths when the score is not asked."""
    log_loss: float
    """Mean on these very pairs, in nats."""
    log_loss_length_alone: float
    pairs: int


def fit_pairs(rows: Sequence[tuple[Hashable, float, float]]) -> PairFit | None:
    """Fit (prompt, score difference, log length ratio), winner less loser.

    None where there is no finite fit: too few pairs, a feature that never differs, or pairs that a mix of the
    two tells apart without a mistake.
    """
    if len(rows) < 3:
        return None
    scale_s = math.sqrt(math.fsum(s * s for _, s, _ in rows) / len(rows))
    scale_l = math.sqrt(math.fsum(r * r for _, _, r in rows) / len(rows))
    if not scale_s or not scale_l:
        return None
    features = [(s / scale_s, r / scale_l) for _, s, r in rows]
    both = _newton(features, free=(True, True))
    alone = _newton(features, free=(False, True))
    if both is None or alone is None:
        return None
    error_s, error_l = _clustered_errors(features, [prompt for prompt, _, _ in rows], both)
    return PairFit(
        score=both[0],
        score_low=both[0] - Z_95 * error_s,
        score_high=both[0] + Z_95 * error_s,
        length=both[1],
        length_low=both[1] - Z_95 * error_l,
        length_high=both[1] + Z_95 * error_l,
        length_alone=alone[1],
        log_loss=_log_loss(features, both),
        log_loss_length_alone=_log_loss(features, alone),
        pairs=len(rows),
    )


def _newton(features: Sequence[Vector], free: tuple[bool, bool]) -> Vector | None:
    """Maximise Σ log σ(w·x) over the free coefficients; None when they run away."""
    weights: Vector = (0.0, 0.0)
    for _ in range(ROUNDS):
        gradient, (a, b, c) = _derivatives(features, weights)
        if free == (False, True):
            step: Vector = (0.0, gradient[1] / c if c > 1e-12 else math.inf)
        else:
            determinant = a * c - b * b
            if determinant < 1e-12 * max(a * c, 1e-300):
                return None
            step = (
                (c * gradient[0] - b * gradient[1]) / determinant,
                (a * gradient[1] - b * gradient[0]) / determinant,
            )
        length = math.hypot(*step)
        shrink = min(1.0, 4.0 / length) if length > 0 else 1.0  # far from the optimum Newton overshoots
        weights = (weights[0] + shrink * step[0], weights[1] + shrink * step[1])
        if not math.isfinite(length) or math.hypot(*weights) > WIDEST:
            return None
        if length < ENOUGH:
            return weights
    return None


def _derivatives(features: Sequence[Vector], weights: Vector) -> tuple[Vector, tuple[float, float, float]]:
    """Gradient of the log-likelihood, and its negative Hessian as (aa, ab, bb)."""
    g0 = g1 = a = b = c = 0.0
    for x, y in features:
        miss = _sigmoid(-(weights[0] * x + weights[1] * y))
        g0 += miss * x
        g1 += miss * y
        curve = miss * (1.0 - miss)
        a += curve * x * x
        b += curve * x * y
        c += curve * y * y
    return (g0, g1), (a, b, c)


def _clustered_errors(features: Sequence[Vector], clusters: Sequence[Hashable], weights: Vector) -> Vector:
    """Standard errors: H⁻¹ (Σ_c g_c g_cᵀ) H⁻¹ · G/(G−1) with g_c the gradient of cluster c, G clusters."""
    _, (a, b, c) = _derivatives(features, weights)
    sums: dict[Hashable, Vector] = {}
    for cluster, (x, y) in zip(clusters, features, strict=True):
        miss = _sigmoid(-(weights[0] * x + weights[1] * y))
        before = sums.get(cluster, (0.0, 0.0))
        sums[cluster] = (before[0] + miss * x, before[1] + miss * y)
    if len(sums) < 2:
        return math.nan, math.nan
    determinant = a * c - b * b
    first, second = (c / determinant, -b / determinant), (-b / determinant, a / determinant)
    few = len(sums) / (len(sums) - 1)
    variances = [
        few * math.fsum((row[0] * g[0] + row[1] * g[1]) ** 2 for g in sums.values())
        for row in (first, second)
    ]
    return math.sqrt(variances[0]), math.sqrt(variances[1])


def _log_loss(features: Sequence[Vector], weights: Vector) -> float:
    margins = (weights[0] * x + weights[1] * y for x, y in features)
    return math.fsum(max(-m, 0.0) + math.log1p(math.exp(-abs(m))) for m in margins) / len(features)


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))
