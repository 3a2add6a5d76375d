"""Estimators of the Kullback–Leibler divergence from samples, and the controller of its coefficient.

J. Schulman, "Approximating KL divergence" (2020), is cited as S.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """log π − log π_ref: unbiased for KL(π ‖ π_ref), high variance, can be negative (S).  For the reward.

    >>> k1(torch.tensor([-1.0]), torch.tensor([-1.5])).tolist()
    [0.5]
    """
    return logprobs - ref_logprobs


def k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """½ (log π − log π_ref)²: biased value, but its gradient is that of the KL (S).  For a loss term.

    ∇k2 = (log π − log π_ref)·∇log π, whose mean over samples of π is ∇KL(π ‖ π_ref).

    >>> k2(torch.tensor([-1.0]), torch.tensor([-2.0])).tolist()
    [0.5]
    """
    return 0.5 * (logprobs - ref_logprobs).square()


def k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """(ρ − 1) − log ρ with ρ = π_ref/π: unbiased, never negative, low variance (S).  To read.

    As a loss term (GRPO's paper has it so) its gradient (1 − ρ)·∇log π is in the mean that of KL(π_ref ‖ π),
    the other direction.  Written with expm1, which keeps its digits where ρ is near 1.
    """
    log_ratio = ref_logprobs - logprobs
    return torch.expm1(log_ratio) - log_ratio


def sequence_k1(logprobs_N_T: Tensor, ref_logprobs_N_T: Tensor, mask_N_T: Tensor) -> Tensor:
    """k1 of every token, [N, T], whose sum over a response has the gradient of the KL of responses.

    KL(π ‖ π_ref) of whole responses has the gradient E[Σ_t ∇log π_t · Σ_{s≥t} (log π_s − log π_ref,s)]: what
    a token does to the distribution that follows counts too.  k2 of single tokens keeps s = t alone, and k3
    has another gradient altogether (Tang and Munos, arXiv 2506.09477, §4).  Of samples of π itself.

    >>> logprobs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    >>> found = sequence_k1(logprobs, torch.tensor([[-1.5, -1.0]]), torch.ones(1, 2))
    >>> found.sum().backward()
    >>> found.tolist(), logprobs.grad.tolist()
    ([[0.5, -1.0]], [[-0.5, -1.0]])
    """
    log_ratio = torch.where(mask_N_T.bool(), logprobs_N_T - ref_logprobs_N_T, 0)
    value = log_ratio.detach()
    to_go = value.flip(1).cumsum(1).flip(1)
    return value + to_go * (log_ratio - value)


PROPORTION = 3.0  # power of KL/goal that β follows at once
CLIP = 0.5  # of ln(KL/goal): beyond a factor 1.65 the error counts no more
RISE = 0.7  # share of the run over which the goal rises to the target
HORIZONS = 8  # a run
FEWEST_STEPS = 3  # in a horizon


def horizon_of(episodes_a_step: int, steps: int) -> int:
    """Episodes in which a constant error of a factor e moves β by a factor e: an eighth of the run's.

    Ziegler et al. (arXiv 1909.08593, §2.2) steer with 10,000 episodes in runs of 300,000 and more; a run that
    is shorter than the horizon cannot be steered at all.  No less than three steps, lest β swing with the
    noise of single batches.

    >>> horizon_of(32, 50)
    200
    """
    return max(math.ceil(episodes_a_step * steps / HORIZONS), FEWEST_STEPS * episodes_a_step)


@dataclass(frozen=True)
class AdaptiveKL:
    """Steers β so that the KL of a response ends at `target`.

    With e = ln(KL/goal), clipped to ±½, after n responses:

        level ← level · exp(e·n/horizon)      β = level · exp(3e)

    The first is the controller of Ziegler et al. (arXiv 1909.08593, §2.2), an integral of the error; alone it
    swings, because KL itself is an integral of what β does.  The second answers at once, which is what damps
    a multiplier (Stooke et al., "Responsive safety in reinforcement learning by PID Lagrangian methods",
    arXiv 2007.03964, §4).  The goal rises to the target over the first seven tenths of the run, so that β is
    not driven down while a policy that has only begun is still near its reference.
    """

    target: float  # nats a response
    horizon: int  # episodes

    def goal(self, step: int, steps: int) -> float:
        """The KL wanted of the responses of step `step` (from 0) of `steps`, nats: 0 before any update."""
        return self.target * min(1.0, step / (RISE * steps))

    def updated(self, level: float, kl: float, episodes: int, goal: float) -> tuple[float, float]:
        """Level and β after `episodes` responses of mean KL `kl`."""
        error = max(-CLIP, min(CLIP, math.log(max(kl, 1e-9) / goal)))
        # n/horizon above 1 would let one batch do more than the whole horizon is meant to.
        level *= math.exp(error * min(1.0, episodes / self.horizon))
        return level, level * math.exp(PROPORTION * error)
