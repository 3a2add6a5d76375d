"""How well scores agree with comparisons, and what the right temperature is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.frozen.comparisons import Comparisons

TEMPERATURE_SPREAD = 0.5
"""Standard deviation of ln τ that is believed before any pair is seen: few pairs move τ little."""


@dataclass(frozen=True)
class Measure:
    """Agreement on strict pairs."""

    accuracy: float  # share of pairs whose winner scores higher, equal scores counting ½; NaN without pairs
    log_loss: float  # mean −ln σ(s_w − s_l) in nats
    pairs: int


def measure(margin_M: np.ndarray, strict: Comparisons) -> Measure:
    """Agreement of margins (score of left minus score of right) with what was said; weighted by votes."""
    mass = strict.win + strict.loss
    if not mass.sum() > 0:
        return Measure(float("nan"), float("nan"), 0)
    right = strict.win * (margin_M > 0) + strict.loss * (margin_M < 0) + 0.5 * mass * (margin_M == 0)
    return Measure(
        accuracy=float(right.sum() / mass.sum()),
        log_loss=float(_losses(margin_M, strict).sum() / mass.sum()),
        pairs=int((mass > 0).sum()),
    )


def _losses(margin_M: np.ndarray, strict: Comparisons) -> np.ndarray:
    losses = strict.win * np.logaddexp(0, -margin_M) + strict.loss * np.logaddexp(0, margin_M)
    return np.asarray(losses)


def strict_majority(comparisons: Comparisons) -> Comparisons:
    """What is measured on: pairs on which more than half said the same one is better, each counting 1."""
    return comparisons.counted("majority").without_ties()


def best_temperature(margin_M: np.ndarray, strict: Comparisons) -> float:
    """The factor τ on margins with the least log-loss, a log-normal prior around 1 added.

    Margins must be held out: on its own training pairs a head always wants to be surer.
    """
    margin = margin_M.astype(np.float64)
    log_tau = 0.0
    for _ in range(50):  # Newton in ln τ, steps bounded
        tau = np.exp(log_tau)
        chance = 0.5 * (1 + np.tanh(0.5 * tau * margin))
        slope_M = (strict.win + strict.loss) * chance - strict.win
        slope = float((slope_M * margin).sum() * tau) + log_tau / TEMPERATURE_SPREAD**2
        mass = (strict.win + strict.loss) * chance * (1 - chance)
        curve = float((mass * margin**2).sum() * tau**2) + 1 / TEMPERATURE_SPREAD**2
        step = float(np.clip(-slope / curve, -0.5, 0.5))
        log_tau += step
        if abs(step) < 1e-9:
            break
    return float(np.exp(log_tau))
