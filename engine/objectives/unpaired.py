"""Losses of responses that are good or bad each for itself.  `N` responses."""

from __future__ import annotations

import torch
from torch import Tensor


def mismatched_kl(ratio_N: Tensor) -> Tensor:
    """z₀ = max(0, mean of log π(y′|x) − log π_ref(y′|x)) over prompts with responses to other prompts, scalar
    without gradient (KTO, arXiv 2402.01306, §4.1): a biased, cheap stand-in for KL(π ‖ π_ref).

    >>> import torch
    >>> float(mismatched_kl(torch.tensor([-1.0, 3.0])))
    1.0
    """
    return ratio_N.detach().mean().clamp(min=0)


def kahneman_tversky(
    ratio_N: Tensor,
    desirable_N: Tensor,
    kl: Tensor | float,
    *,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """λ_y − v(x, y), the negative value of each response, [N] (KTO, arXiv 2402.01306, eq. 8).

    ratio_N is r = log π − log π_ref, desirable_N bool; v is λ_D·σ(β(r − z₀)) of a desirable response and
    λ_U·σ(β(z₀ − r)) of an undesirable one, z₀ = `kl`.  Bounded, so an example that cannot be learned has
    next to no gradient.

    >>> import torch
    >>> kahneman_tversky(torch.zeros(2), torch.tensor([True, False]), 0.0, beta=0.1).tolist()
    [0.5, 0.5]
    """
    gain_N = beta * torch.where(desirable_N, ratio_N - kl, kl - ratio_N)
    lost_N = torch.sigmoid(-gain_N)
    return torch.where(desirable_N, desirable_weight * lost_N, undesirable_weight * lost_N)
