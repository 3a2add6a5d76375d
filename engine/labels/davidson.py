"""Davidson's model of a verdict with ties (JASA 65, 1970), by its linear predictor η and t = ln ν.

ln P = ½·verdict·η + tie·t − ln(e^{η/2} + e^{−η/2} + e^t); t = −∞ where nobody ties.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Slopes(NamedTuple):
    """Derivatives of ln P; each has the shape of η."""

    value: np.ndarray
    eta: np.ndarray  # ∂/∂η
    tie: np.ndarray  # ∂/∂t
    eta_eta: np.ndarray  # −∂²/∂η²
    tie_tie: np.ndarray  # −∂²/∂t²
    eta_tie: np.ndarray  # −∂²/∂η∂t


def chances(eta: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chance that the first is better, of a tie, and that the second is better."""
    norm = np.logaddexp(np.logaddexp(0.5 * eta, -0.5 * eta), t)
    return np.exp(0.5 * eta - norm), np.exp(t - norm), np.exp(-0.5 * eta - norm)


def slopes(eta: np.ndarray, t: np.ndarray, verdict: np.ndarray) -> Slopes:
    """ln P of the verdicts (1, 0, −1) and its derivatives."""
    norm = np.logaddexp(np.logaddexp(0.5 * eta, -0.5 * eta), t)
    win, tie, loss = np.exp(0.5 * eta - norm), np.exp(t - norm), np.exp(-0.5 * eta - norm)
    lean, tied = win - loss, verdict == 0
    return Slopes(
        value=0.5 * verdict * eta + np.where(tied, t, 0.0) - norm,
        eta=0.5 * (verdict - lean),
        tie=tied - tie,
        eta_eta=0.25 * (win + loss - lean * lean),
        tie_tie=tie * (1.0 - tie),
        eta_tie=-0.5 * lean * tie,
    )


def log_chance(eta: np.ndarray, t: np.ndarray, verdict: np.ndarray) -> np.ndarray:
    """ln P of the verdicts, without the slopes."""
    norm = np.logaddexp(np.logaddexp(0.5 * eta, -0.5 * eta), t)
    return np.asarray(0.5 * verdict * eta + np.where(verdict == 0, t, 0.0) - norm)
