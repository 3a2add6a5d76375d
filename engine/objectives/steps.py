"""Scores of steps: one score of a whole response, and rewards where steps end.

`S` steps of a response, `N` responses, `T` tokens.  A score is the log-odds that a step is good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Aggregate = Literal["min", "product", "sum", "last"]


def aggregated(score_S: Tensor, how: Aggregate) -> Tensor:
    """One score of a response from those of its steps.  Scalar.

    min: the worst step's log-odds; product: Σ ln σ(s), the log of the chance that every step is good; last:
    the last step's (Lightman et al., arXiv 2305.20050, appendix F).  sum: Σ σ(s), the number of good steps to
    be expected, which long responses have more of (Uesato et al., arXiv 2211.14275, compare them).

    >>> float(aggregated(torch.tensor([2.0, -1.0, 3.0]), "min"))
    -1.0
    """
    if how == "min":
        return score_S.min()
    if how == "product":
        return F.logsigmoid(score_S).sum()
    return torch.sigmoid(score_S).sum() if how == "sum" else score_S[-1]


def step_worth(score_S: Tensor) -> Tensor:
    """2σ(s) − 1: from −1, surely bad, to 1, surely good.  [S]

    >>> step_worth(torch.tensor([0.0])).tolist()
    [0.0]
    """
    return 2 * torch.sigmoid(score_S) - 1


def placed(worths: Sequence[Tensor], ends: Sequence[Sequence[int]], mask_N_T: Tensor) -> Tensor:
    """Rewards at the token where each step ends, 0 elsewhere; steps that end at one token add up.  [N, T]

    worths: [S_n] of each response; ends: the token of each of its steps, from 0; one beyond the response's
    last token counts as that.

    >>> placed([torch.tensor([1.0, -1.0])], [[0, 2]], torch.ones(1, 3)).tolist()
    [[1.0, 0.0, -1.0]]
    """
    found_N_T = torch.zeros(mask_N_T.shape)
    last_N = mask_N_T.sum(dim=1).long() - 1
    for n, (worth_S, at) in enumerate(zip(worths, ends, strict=True)):
        place_S = torch.as_tensor(list(at), dtype=torch.long).clamp_max(int(last_N[n]))
        found_N_T[n].index_add_(0, place_S, worth_S.to(found_N_T))
    return found_N_T


def still_to_come(rewards_N_T: Tensor, mask_N_T: Tensor) -> Tensor:
    """Σ of the rewards from each token on: what the token can have had a part in.  [N, T], 0 beyond the end.

    The advantage of process supervision without a critic (DeepSeekMath, arXiv 2402.03300, §4.1.3).

    >>> still_to_come(torch.tensor([[1.0, 0.0, -1.0]]), torch.ones(1, 3)).tolist()
    [[0.0, -1.0, -1.0]]
    """
    rewards_in_mask_N_T = torch.where(mask_N_T.bool(), rewards_N_T, 0)
    return torch.where(mask_N_T.bool(), rewards_in_mask_N_T.flip(1).cumsum(dim=1).flip(1), 0)


def step_advantages(
    rewards_N_T: Tensor, mask_N_T: Tensor, group_N: Tensor, *, scale: bool = True, eps: float = 1e-6
) -> Tensor:
    """Advantages of process supervision without a critic (DeepSeekMath, arXiv 2402.03300, §4.1.3).  [N, T]

    A_t = Σ over the steps that end at t or later of (r − mean)/std, mean and std over the rewards of all
    steps of the prompt's samples (group_N); without `scale` the std is 1.

    A token with reward 0 counts as one that ends no step.
    """
    ends_N_T = (rewards_N_T != 0) & mask_N_T.bool()
    compared_N_T = torch.zeros_like(rewards_N_T)
    for group in group_N.unique():
        own_N_T = ends_N_T & (group_N == group)[:, None]
        some = rewards_N_T[own_N_T]
        if some.numel():
            spread = some.std(unbiased=False) + eps if scale else 1.0
            compared_N_T[own_N_T] = (some - some.mean()) / spread
    return still_to_come(compared_N_T, mask_N_T)
