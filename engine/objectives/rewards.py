"""One score from several: weighted sums, ensembles, and constraints with their multipliers.

`M` members of an ensemble, `C` constraints, `N` responses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.objectives.groups import leave_one_out

GAIN = 3.0
"""How far ln λ follows one standard deviation above the bound at once, as β follows the KL (decision 12)."""
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


def cautious(members_M_N: Tensor, group_N: Tensor, *, penalty: float) -> Tensor:
    """mean − κ·sd over the members, sd being that of how much better a response is than the others of its
    prompt: of s_i − mean of s_j, j ≠ i.  [N]

    What a member adds to all responses of a prompt (group_N) is in no comparison, so the spread of a score
    itself holds it and says little of which response is better; here it falls out.  Of members drawn from a
    posterior the sd is that of the posterior, divided by M.  A response alone with its prompt has sd 0.

    >>> import torch
    >>> level = torch.tensor([[0.0, 0.0, 0.0], [9.0, 9.0, -9.0]])  # by member and prompt
    >>> members = torch.tensor([[1.0, 3.0, 2.0], [1.0, 1.0, 2.0]]) + level
    >>> (cautious(members, torch.tensor([0, 0, 1]), penalty=1.0) - level.mean(dim=0)).tolist()
    [0.0, 1.0, 2.0]
    """
    apart_M_N = torch.stack([leave_one_out(member_N, group_N) for member_N in members_M_N])
    return members_M_N.mean(dim=0) - penalty * apart_M_N.std(dim=0, unbiased=False)


def constrained(score_N: Tensor, excess_C_N: Tensor, multipliers: Sequence[float]) -> Tensor:
    """(R − Σ λ_i·C_i) / (1 + Σ λ_i), the Lagrangian of several constraints at a scale that does not grow with
    the multipliers (Dai et al., Safe RLHF, arXiv 2310.12773, §3.3 and appendix, for one).  [N]

    excess_C_N: how far each cost lies above its bound.

    >>> import torch
    >>> constrained(torch.tensor([2.0]), torch.tensor([[1.0], [-1.0]]), [1.0, 2.0]).tolist()
    [0.75]
    """
    lambda_C = excess_C_N.new_tensor(multipliers)
    return (score_N - lambda_C @ excess_C_N) / (1 + lambda_C.sum())


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

    With J, how far the mean cost lies above its bound, clipped to ±1:

        ln level ← ln level + α·J,   ln λ = ln level + GAIN·J.

    The level is dual ascent in ln λ, which keeps λ above 0 (Safe RLHF, arXiv 2310.12773, appendix); its
    gradient has a factor λ there, with which a step is next to nothing below 1 and runs away above, and which
    is left out here: the fixed point, J = 0, is the same.  The answer in proportion damps it: a cost is
    itself an integral of what λ does, and the ascent alone swings (Stooke et al., arXiv 2007.03964; their
    derivative part is not taken, for the mean cost of one batch is too noisy to be differenced).
    """

    rate: float

    def updated(self, level: float, excess: float) -> tuple[float, float]:
        """Level and λ after a batch whose mean cost is `excess` above the bound."""
        above = max(-1.0, min(1.0, excess))
        level = held(level * math.exp(max(-1.0, min(1.0, self.rate * above))))
        return level, held(level * math.exp(GAIN * above))


def held(multiplier: float) -> float:
    """Within SMALLEST and LARGEST."""
    return max(SMALLEST, min(LARGEST, multiplier))
