"""The clipped surrogate of PPO.  `N` responses, `T` tokens; masks are 1 on response tokens."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class PolicyLoss(NamedTuple):
    """Loss of a micro-batch, and sums for the record; `loss` alone carries a gradient."""

    loss: Tensor  # scalar, already divided by the global token count
    clipped: Tensor  # number of tokens whose clipped term is the active one and differs
    ratio_sum: Tensor
    ratio_max_deviation: Tensor  # max |ratio − 1|
    kl_sum: Tensor  # sum of k3 estimates of KL(sampling policy ‖ policy)


def clipped_surrogate(
    logprobs_N_T: Tensor,
    old_logprobs_N_T: Tensor,
    advantages_N_T: Tensor,
    mask_N_T: Tensor,
    *,
    clip: float,
    total_tokens: int | float | Tensor,
) -> PolicyLoss:
    """−Σ min(ρA, clip(ρ, 1 ± ε)A) / total_tokens with ρ = exp(log π − log π_old) (arXiv 1707.06347, eq. 7).

    total_tokens is the number of response tokens of the whole minibatch, not of this micro-batch, so that
    gradients of micro-batches add up to those of the minibatch whatever its cut; or [N, 1], a divisor a
    response, where an algorithm averages otherwise.
    """
    real_N_T = mask_N_T.bool()
    log_ratio = torch.where(real_N_T, logprobs_N_T - old_logprobs_N_T, 0)
    ratio = log_ratio.exp()
    advantages = torch.where(real_N_T, advantages_N_T, 0)
    free = ratio * advantages
    bounded = ratio.clamp(1 - clip, 1 + clip) * advantages
    loss = -(torch.where(real_N_T, torch.minimum(free, bounded), 0) / total_tokens).sum()
    with torch.no_grad():
        # k3 with samples from the old policy: E_old[ρ − 1 − log ρ] = KL(π_old ‖ π).
        kl = torch.where(real_N_T, torch.expm1(log_ratio) - log_ratio, 0).sum()
        return PolicyLoss(
            loss=loss,
            clipped=((bounded < free) & real_N_T).sum(),
            ratio_sum=torch.where(real_N_T, ratio, 0).sum(),
            ratio_max_deviation=torch.where(real_N_T, (ratio - 1).abs(), 0).max(),
            kl_sum=kl,
        )


def entropy_of(logprobs_N_V: Tensor) -> Tensor:
    """Exact entropy in nats of each row of log-probabilities, [N]: −Σ p·log p; a token of p = 0 adds 0.

    >>> round(float(entropy_of(torch.tensor([[0.5, 0.5]]).log())), 4)
    0.6931
    """
    return -(logprobs_N_V.exp() * logprobs_N_V).nan_to_num_(nan=0.0).sum(dim=-1)
