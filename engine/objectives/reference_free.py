"""Preference losses without a reference policy.

`M` pairs; a response enters by its log-probability, summed over its tokens (`sum`) or averaged (`mean`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def simple_preference(winner_mean_M: Tensor, loser_mean_M: Tensor, *, beta: float, gamma: float) -> Tensor:
    """−log σ(β·(w̄ − l̄) − γ), w̄ and l̄ the mean log π of a token of each response, [M] (SimPO,
    arXiv 2405.14734, eq. 6).  γ is the margin wanted between the rewards β·w̄ and β·l̄.

    >>> import torch
    >>> winner, loser = torch.tensor([-1.0]), torch.tensor([-1.5])
    >>> round(float(simple_preference(winner, loser, beta=2.0, gamma=1.0)), 4)
    0.6931
    """
    return -F.logsigmoid(beta * (winner_mean_M - loser_mean_M) - gamma)


def contrastive_preference(winner_sum_M: Tensor, loser_sum_M: Tensor, *, beta: float) -> Tensor:
    """−log σ(β·(log π(w) − log π(l))), [M] (CPO, arXiv 2401.08417, eq. 3): DPO with a uniform reference.

    The paper adds the imitation of the winner, which keeps the policy near what was preferred.

    >>> import torch
    >>> round(float(contrastive_preference(torch.tensor([-3.0]), torch.tensor([-3.0]), beta=0.1)), 4)
    0.6931
    """
    return -F.logsigmoid(beta * (winner_sum_M - loser_sum_M))


def log_odds(mean_M: Tensor) -> Tensor:
    """log(P / (1 − P)) of P = exp(mean log π of a token), [M] (ORPO, arXiv 2403.07691, eq. 4).

    P is taken no nearer to 1 than its number format tells apart, where its odds would be infinite.

    >>> import torch
    >>> round(float(log_odds(torch.tensor([0.75]).log())), 4)
    1.0986
    """
    mean_M = mean_M.clamp(max=-torch.finfo(mean_M.dtype).eps)
    # log(1 − eˣ): each form keeps its digits on its side of ½
    near, far = torch.log(-torch.expm1(mean_M)), torch.log1p(-torch.exp(mean_M))
    return mean_M - torch.where(mean_M > -0.6931, near, far)


def odds_ratio(winner_mean_M: Tensor, loser_mean_M: Tensor) -> Tensor:
    """−log σ(log odds(w) − log odds(l)), [M] (ORPO, arXiv 2403.07691, eq. 7), a term beside the imitation
    of the winner.

    >>> import torch
    >>> round(float(odds_ratio(torch.tensor([-1.0]), torch.tensor([-1.0]))), 4)
    0.6931
    """
    return -F.logsigmoid(log_odds(winner_mean_M) - log_odds(loser_mean_M))
