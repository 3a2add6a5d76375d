"""How far two backends agree on the scores of the same responses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ScoreAgreement:
    """Differences in units of score."""

    max_difference: float
    mean_difference: float
    kendall_tau: float
    samples: int

    def details(self) -> dict[str, float | int | str | bool]:
        """What the artifact says of it in the store."""
        return {
            "max_difference": self.max_difference,
            "mean_difference": self.mean_difference,
            "kendall_tau": self.kendall_tau,
            "samples": self.samples,
        }


def compare(expected_N: np.ndarray, found_N: np.ndarray) -> ScoreAgreement:
    """Largest and mean absolute difference, and Kendall's τ-b."""
    difference = np.abs(expected_N - found_N)
    return ScoreAgreement(
        float(difference.max()),
        float(difference.mean()),
        kendall_tau(expected_N, found_N),
        len(expected_N),
    )


def kendall_tau(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's τ-b, with ties (Kendall 1945).  1 when both are constant, 0 when one is."""
    upper = np.triu_indices(len(first), 1)
    a, b = (np.sign(values[:, None] - values[None, :])[upper] for values in (first, second))
    spread = float(np.count_nonzero(a)) * float(np.count_nonzero(b))
    if spread == 0.0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return float((a * b).sum() / np.sqrt(spread))
