"""Surrogates of the policy gradient.  `N` responses, `T` tokens; masks are 1 on response tokens."""

from __future__ import annotations

from typing import Literal, NamedTuple

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
    clip_high: float = 0.0,
    ratio_of: Literal["token", "sequence"] = "token",
) -> PolicyLoss:
    """−Σ min(ρA, clip(ρ, 1 − ε, 1 + ε⁺)A) / total_tokens with ρ = exp(log π − log π_old) (arXiv 1707.06347,
    eq. 7; ε⁺ = clip_high, ε where it is 0: DAPO's clip-higher, arXiv 2503.14476, eq. 10, which lets tokens
    that are still rare grow).

    ratio_of sequence: every token has the ratio of its response, ρ = exp(mean over its tokens of log π −
    log π_old).  With a mean over responses of means over tokens (`token_divisor`, response) it is GSPO
    (arXiv 2507.18071, eq. 5 and 7), whose ratios lie so near to 1 that ε is about 4e-4.

    total_tokens is the number of response tokens of the whole minibatch, not of this micro-batch, so that
    gradients of micro-batches add up to those of the minibatch whatever its cut; or [N, 1], a divisor a
    response, where an algorithm averages otherwise.
    """
    real_N_T = mask_N_T.bool()
    log_ratio = torch.where(real_N_T, logprobs_N_T - old_logprobs_N_T, 0)
    used = log_ratio
    if ratio_of == "sequence":
        mean_N_1 = log_ratio.sum(dim=1, keepdim=True) / real_N_T.sum(dim=1, keepdim=True).clamp_min(1)
        used = torch.where(real_N_T, mean_N_1, 0)
    ratio = used.exp()
    advantages = torch.where(real_N_T, advantages_N_T, 0)
    free = ratio * advantages
    bounded = ratio.clamp(1 - clip, 1 + (clip_high or clip)) * advantages
    loss = -(torch.where(real_N_T, torch.minimum(free, bounded), 0) / total_tokens).sum()
    return _with_sums(loss, (bounded < free) & real_N_T, log_ratio, ratio, real_N_T)


def truncated_reinforce(
    logprobs_N_T: Tensor,
    old_logprobs_N_T: Tensor,
    advantages_N_T: Tensor,
    mask_N_T: Tensor,
    *,
    clip: float,
    total_tokens: int | float | Tensor,
) -> PolicyLoss:
    """−Σ stop(min(ρ, 1 + ε))·A·log π / total_tokens: the importance weight is truncated, and no token loses
    its gradient (CISPO, MiniMax-M1, arXiv 2506.13585, eq. 4 and 5; as there, nothing bounds ρ from below).

    At ρ = 1 the gradient is the policy gradient.  total_tokens as in `clipped_surrogate`.
    """
    real_N_T = mask_N_T.bool()
    log_ratio = torch.where(real_N_T, logprobs_N_T - old_logprobs_N_T, 0)
    ratio = log_ratio.detach().exp()
    weighted = ratio.clamp(max=1 + clip) * torch.where(real_N_T, advantages_N_T, 0)
    loss = -(torch.where(real_N_T, weighted * logprobs_N_T, 0) / total_tokens).sum()
    return _with_sums(loss, (ratio > 1 + clip) & real_N_T, log_ratio, ratio, real_N_T)


@torch.no_grad()
def _sums(log_ratio: Tensor, ratio: Tensor, real_N_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Σ ρ, max |ρ − 1|, and k3 with samples from the old policy: E_old[ρ − 1 − log ρ] = KL(π_old ‖ π)."""
    return (
        torch.where(real_N_T, ratio, 0).sum(),
        torch.where(real_N_T, (ratio - 1).abs(), 0).max(),
        torch.where(real_N_T, torch.expm1(log_ratio) - log_ratio, 0).sum(),
    )


def _with_sums(
    loss: Tensor, clipped_N_T: Tensor, log_ratio: Tensor, ratio: Tensor, real_N_T: Tensor
) -> PolicyLoss:
    ratio_sum, deviation, kl = _sums(log_ratio, ratio, real_N_T)
    return PolicyLoss(loss, clipped_N_T.sum(), ratio_sum, deviation, kl)


def entropy_of(logprobs_N_V: Tensor) -> Tensor:
    """Exact entropy in nats of each row of log-probabilities, [N]: −Σ p·log p; a token of p = 0 adds 0.

    >>> round(float(entropy_of(torch.tensor([[0.5, 0.5]]).log())), 4)
    0.6931
    """
    return -(logprobs_N_V.exp() * logprobs_N_V).nan_to_num_(nan=0.0).sum(dim=-1)
