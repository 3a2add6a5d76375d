"""Estimators of the Kullback–Leibler divergence from samples, and the controller of its coefficient.

J. Schulman, "Approximating KL divergence" (2020), is cited as S.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """log π − log π_ref: unbiased for KL(π ‖ π_ref), high variance, can be negative (S).  For the reward."""
    return logprobs - ref_logprobs


def k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """½ (log π − log π_ref)²: biased value, but its gradient is that of the KL (S).  For a loss term.

    ∇k2 = (log π − log π_ref)·∇log π, whose mean over samples of π is ∇KL(π ‖ π_ref).
    """
    return 0.5 * (logprobs - ref_logprobs).square()


def k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """(ρ − 1) − log ρ with ρ = π_ref/π: unbiased, never negative, low variance (S).  To read.

    As a loss term (GRPO's paper has it so) its gradient (1 − ρ)·∇log π is in the mean that of KL(π_ref ‖ π),
    the other direction.  Written with expm1, which keeps its digits where ρ is near 1.
    """
    log_ratio = ref_logprobs - logprobs
    return torch.expm1(log_ratio) - log_ratio


def exact_kl(logits_N_V: Tensor, ref_logits_N_V: Tensor) -> Tensor:
    """KL(π ‖ π_ref) of each row of logits, in nats, [N]."""
    logp, logq = torch.log_softmax(logits_N_V, dim=-1), torch.log_softmax(ref_logits_N_V, dim=-1)
    return (logp.exp() * (logp - logq)).sum(dim=-1)


@dataclass(frozen=True)
class AdaptiveKL:
    """Steers β so that the KL of a response stays near `target` (Ziegler et al., arXiv 1909.08593, §2.2)."""

    target: float  # nats a response
    horizon: int  # episodes

    def updated(self, beta: float, kl: float, episodes: int) -> float:
        """β ← β (1 + e·n/horizon) after n responses of mean KL `kl`, the error e clipped to ±0.2."""
        error = max(-0.2, min(0.2, kl / self.target - 1))
        # n/horizon above 1 would let one batch do more than the whole horizon is meant to.
        return beta * (1 + error * min(1.0, episodes / self.horizon))
