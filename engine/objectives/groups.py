"""Advantages without a critic, from the other samples of the same prompt.

`N` responses; group_N says which prompt each belongs to.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Average = Literal["response", "token", "budget"]
Scale = Literal["group", "batch"]


def _sums(x_N: Tensor, group_N: Tensor) -> tuple[Tensor, Tensor]:
    """Of each response's group: the sum of x and the number of responses.  Both [N]."""
    size = int(group_N.max()) + 1
    total = x_N.new_zeros(size).index_add_(0, group_N, x_N)
    count = x_N.new_zeros(size).index_add_(0, group_N, torch.ones_like(x_N))
    return total[group_N], count[group_N]


def spread_within(x_N: Tensor, group_N: Tensor) -> tuple[float, float]:
    """Standard deviation within the groups, and its standard error.

    σ² = Σ (x − mean of its group)² / Σ (size − 1), what is left when every group's own level is taken out.
    The error is the jackknife's over groups (Efron and Tibshirani, An Introduction to the Bootstrap, ch. 11),
    σ/√(2·Σ(size − 1)) with fewer than two groups that vary.  Both are 0 when no group has two members.
    """
    total, count = _sums(x_N.double(), group_N)
    squares_G = torch.zeros(int(group_N.max()) + 1, dtype=torch.float64)
    freedom_G = torch.zeros_like(squares_G)
    squares_G.index_add_(0, group_N, (x_N.double() - total / count).square())
    freedom_G.index_add_(0, group_N, (count - 1) / count)
    used = freedom_G > 0.5
    squares_G, freedom_G = squares_G[used], freedom_G[used]
    groups, freedom = len(squares_G), float(freedom_G.sum())
    if not groups:
        return 0.0, 0.0
    spread = float((squares_G.sum() / freedom).sqrt())
    if groups == 1:
        return spread, spread / (2 * freedom) ** 0.5
    without_G = ((squares_G.sum() - squares_G).clamp_min(0) / (freedom - freedom_G)).sqrt()
    error = (groups - 1) / groups * (without_G - without_G.mean()).square().sum()
    return spread, float(error.sqrt())


def penalised(x_N: Tensor, good_N: Tensor, group_N: Tensor, penalty: float) -> Tensor:
    """x where good; elsewhere the mean of the group's good ones plus `penalty`.  [N]

    A group without a good one takes the mean of all its members.  So the penalty is worth the same on a
    prompt whose answers all score high as on one whose answers all score low.

    >>> scores, ended = torch.tensor([1.0, 3.0, 9.0]), torch.tensor([True, True, False])
    >>> penalised(scores, ended, torch.tensor([0, 0, 0]), -1.0).tolist()
    [1.0, 3.0, 1.0]
    """
    good = good_N.to(x_N.dtype)
    total, _ = _sums(torch.where(good_N, x_N, 0), group_N)
    count, size = _sums(good, group_N)
    every, _ = _sums(x_N, group_N)
    level_N = torch.where(count > 0, total / count.clamp_min(1), every / size)
    return torch.where(good_N, x_N, level_N + penalty)


def without_variance(rewards_N: Tensor, group_N: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Which responses belong to a group whose rewards are all alike: nothing to be learned from, [N] bool
    (DAPO, arXiv 2503.14476, §3.2).

    >>> without_variance(torch.tensor([1.0, 3.0, 5.0, 5.0]), torch.tensor([0, 0, 1, 1])).tolist()
    [False, False, True, True]
    """
    total, count = _sums(rewards_N.double(), group_N)
    squares, _ = _sums((rewards_N.double() - total / count).square(), group_N)
    return (squares / count).sqrt() <= eps


def group_advantages(
    rewards_N: Tensor, group_N: Tensor, *, scale: bool, of: Scale = "group", eps: float = 1e-6
) -> Tensor:
    """(R − mean of the group), over the group's standard deviation if `scale`.  [N]

    Scaled: GRPO (arXiv 2402.03300, §4.1.2).  Not scaled: Dr. GRPO (arXiv 2503.20783, §3.2), without the
    weight that scaling gives to prompts on which all samples score nearly alike.  A group of equal rewards
    gives 0. The deviation is the sample one (divided by K − 1); a group of one response has no advantage.
    of batch: over the standard deviation of (R − mean of its group) in the whole batch, the same for all
    (REINFORCE++ with a baseline, arXiv 2501.03262, §3.3), which leaves prompts their weight.

    >>> rewards, prompts = torch.tensor([1.0, 3.0, 5.0, 5.0]), torch.tensor([0, 0, 1, 1])
    >>> group_advantages(rewards, prompts, scale=False).tolist()
    [-1.0, 1.0, 0.0, 0.0]
    """
    total, count = _sums(rewards_N, group_N)
    centred = rewards_N - total / count
    if not scale:
        return centred
    if of == "batch":
        return centred / (centred.square().mean().sqrt() + eps)
    squares, _ = _sums(centred.square(), group_N)
    return centred / ((squares / (count - 1).clamp_min(1)).sqrt() + eps)


def leave_one_out(rewards_N: Tensor, group_N: Tensor) -> Tensor:
    """R_i − mean of the other rewards of its group (RLOO, arXiv 2402.14740, eq. 7).  [N]

    The baseline does not depend on the response itself, so the gradient stays unbiased.  A group of one
    response has no baseline, and its advantage is 0.

    >>> leave_one_out(torch.tensor([1.0, 2.0, 6.0]), torch.tensor([0, 0, 0])).tolist()
    [-3.0, -1.5, 4.5]
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
