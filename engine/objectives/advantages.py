"""Generalised advantage estimation and masked statistics.

`N` responses, `T` tokens; masks are 1 on real tokens.

"The N implementation details of RLHF with PPO" is cited as Blog.
"""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(x_N_T: Tensor, mask_N_T: Tensor) -> Tensor:
    """Mean over the tokens of the mask; what lies outside, NaN included, does not count.  Scalar.

    >>> float(masked_mean(torch.tensor([[1.0, 3.0, float('nan')]]), torch.tensor([[1, 1, 0]])))
    2.0
    """
    counted_N_T = mask_N_T.bool()
    return torch.where(counted_N_T, x_N_T, 0).sum() / counted_N_T.sum()


def masked_variance(x_N_T: Tensor, mask_N_T: Tensor) -> Tensor:
    """Population variance over the tokens of the mask (divided by their number).  Scalar."""
    counted_N_T = mask_N_T.bool()
    mean = masked_mean(x_N_T, mask_N_T)
    return torch.where(counted_N_T, (x_N_T - mean).square(), 0).sum() / counted_N_T.sum()


def whiten(x_N_T: Tensor, mask_N_T: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Shift and scale the tokens of the mask to mean 0, variance 1; 0 outside (Blog, "whitening")."""
    mean, variance = masked_mean(x_N_T, mask_N_T), masked_variance(x_N_T, mask_N_T)
    return torch.where(mask_N_T.bool(), (x_N_T - mean) * torch.rsqrt(variance + eps), 0)


def generalised_advantages(
    rewards_N_T: Tensor, values_N_T: Tensor, mask_N_T: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns of each token of each response (Schulman et al., arXiv 1506.02438, eq. 16).

    δ_t = r_t + γ·V_{t+1} − V_t,  A_t = δ_t + γλ·A_{t+1},  R_t = A_t + V_t.
    values_N_T[:, t] is the value of the state before token t.  The response ends with its last masked
    token: V and A beyond it are 0, so nothing leaks across the end.  Both results are 0 outside the mask.

    >>> rewards, values = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.5]])
    >>> advantages, returns = generalised_advantages(
    ...     rewards, values, torch.ones(1, 2), gamma=1.0, lam=1.0
    ... )
    >>> advantages.tolist(), returns.tolist()
    ([[0.5, 0.5]], [[1.0, 1.0]])
    """
    real_N_T = mask_N_T.bool()
    rewards, values = torch.where(real_N_T, rewards_N_T, 0), torch.where(real_N_T, values_N_T, 0)
    advantages_N_T = torch.zeros_like(values)
    next_value_N = torch.zeros_like(values[:, 0])
    next_advantage_N = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        delta_N = rewards[:, t] + gamma * next_value_N - values[:, t]
        next_advantage_N = torch.where(real_N_T[:, t], delta_N + gamma * lam * next_advantage_N, 0)
        next_value_N = values[:, t]
        advantages_N_T[:, t] = next_advantage_N
    return advantages_N_T, torch.where(real_N_T, advantages_N_T + values, 0)
