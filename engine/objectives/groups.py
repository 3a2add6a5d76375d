"""Advantages without a critic, from the other samples of the same prompt.

`N` responses; group_N says which prompt each belongs to.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Average = Literal["response", "token", "budget"]


def _sums(x_N: Tensor, group_N: Tensor) -> tuple[Tensor, Tensor]:
    """Of each response's group: the sum of x and the number of responses.  Both [N]."""
    size = int(group_N.max()) + 1
    total = x_N.new_zeros(size).index_add_(0, group_N, x_N)
    count = x_N.new_zeros(size).index_add_(0, group_N, torch.ones_like(x_N))
    return total[group_N], count[group_N]


def group_advantages(rewards_N: Tensor, group_N: Tensor, *, scale: bool, eps: float = 1e-6) -> Tensor:
    """(R − mean of the group), over the group's standard deviation if `scale`.  [N]

    Scaled: GRPO (arXiv 2402.03300, §4.1.2).  Not scaled: Dr. GRPO (arXiv 2503.20783, §3.2), without the
    weight that scaling gives to prompts on which all samples score nearly alike.  A group of equal rewards
    gives 0. The deviation is the sample one (divided by K − 1); a group of one response has no advantage.
    """
    total, count = _sums(rewards_N, group_N)
    centred = rewards_N - total / count
    if not scale:
        return centred
    squares, _ = _sums(centred.square(), group_N)
    return centred / ((squares / (count - 1).clamp_min(1)).sqrt() + eps)


def leave_one_out(rewards_N: Tensor, group_N: Tensor) -> Tensor:
    """R_i − mean of the other rewards of its group (RLOO, arXiv 2402.14740, eq. 7).  [N]

    The baseline does not depend on the response itself, so the gradient stays unbiased.  A group of one
    response has no baseline, and its advantage is 0.
    """
    total, count = _sums(rewards_N, group_N)
    baseline = (total - rewards_N) / (count - 1).clamp_min(1)
    return torch.where(count > 1, rewards_N - baseline, 0)


def token_divisor(mask_N_T: Tensor, average: Average, budget: int, tokens: int, responses: int) -> Tensor:
    """What each token's loss is divided by, [N, 1], so that the sum over a minibatch is its loss.

    response: the mean over responses of their mean over tokens (GRPO, arXiv 2402.03300, eq. 3), in which a
    token of a long answer weighs less.  token: the mean over all tokens.  budget: the sum over tokens divided
    by responses × response budget (Dr. GRPO).  `tokens` and `responses` are those of the whole minibatch.
    """
    if average == "response":
        return mask_N_T.sum(dim=1, keepdim=True) * float(responses)
    constant = tokens if average == "token" else responses * budget
    return torch.full((len(mask_N_T), 1), float(constant), device=mask_N_T.device)
