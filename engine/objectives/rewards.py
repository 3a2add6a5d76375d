"""One score from several: weighted sums, ensembles, and a constraint with its multiplier.

`M` members of an ensemble, `N` responses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

SMALLEST, LARGEST = 1e-3, 1e3
"""Where the multiplier is held: from far below, an ascent in log λ would take long to come back."""


def pessimistic(members_M_N: Tensor, *, penalty: float | None) -> Tensor:
    """mean − λ·variance over the members, or (None) their minimum.  [N]

    Coste et al., "Reward model ensembles help mitigate overoptimization" (arXiv 2310.02743, eq. 3 and 4).
    The variance is that of the members themselves (divided by M).

    >>> import torch
    >>> pessimistic(torch.tensor([[1.0, 4.0], [3.0, 2.0]]), penalty=None).tolist()
    [1.0, 2.0]
    """
    if penalty is None:
        return members_M_N.min(dim=0).values
    return members_M_N.mean(dim=0) - penalty * members_M_N.var(dim=0, unbiased=False)


def constrained(score_N: Tensor, cost_N: Tensor, multiplier: float) -> Tensor:
    """(R − λ·C) / (1 + λ), the Lagrangian at a scale that does not grow with λ (Safe RLHF,
    arXiv 2310.12773, §3.3 and appendix).  cost_N is the cost above its bound.  [N]

    >>> import torch
    >>> constrained(torch.tensor([2.0]), torch.tensor([1.0]), multiplier=1.0).tolist()
    [0.5]
    """
    return (score_N - multiplier * cost_N) / (1 + multiplier)


def overlong(length_N: Tensor, *, budget: int, soft: int, penalty: float) -> Tensor:
    """What a response of so many tokens loses, [N]: none up to budget − soft, then evenly more, `penalty` at
    the budget (DAPO's soft overlong punishment, arXiv 2503.14476, eq. 13).

    >>> import torch
    >>> overlong(torch.tensor([50, 90, 100]), budget=100, soft=20, penalty=1.0).tolist()
    [0.0, 0.5, 1.0]
    """
    return penalty * ((length_N - (budget - soft)) / soft).clamp(0, 1)


@dataclass(frozen=True)
class DualAscent:
    """Learns the multiplier of “mean cost ≤ bound”: up while the policy violates it, down while it keeps it.

    ln λ ← ln λ + α·λ·J_C, the gradient of the Lagrangian in ln λ (Safe RLHF, arXiv 2310.12773, appendix),
    which keeps λ above 0.
    """

    rate: float

    def updated(self, multiplier: float, excess: float) -> float:
        """λ after a batch whose mean cost is `excess` above the bound."""
        step = max(-1.0, min(1.0, self.rate * multiplier * excess))  # λ changes at most by a factor e a step
        return max(SMALLEST, min(LARGEST, multiplier * math.exp(step)))
