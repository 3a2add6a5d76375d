"""Direct preference losses: a policy taught by pairs, its log-ratio to the reference being the reward.

`M` pairs.  The implicit reward of a response is β·(log π(y|x) − log π_ref(y|x)), log-probabilities summed
over the tokens of the response, or averaged where that is asked for.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Loss = Literal["sigmoid", "ipo", "robust"]


def direct_preference(
    winner_M: Tensor,
    loser_M: Tensor,
    *,
    beta: float,
    loss: Loss = "sigmoid",
    label_smoothing: float = 0.0,
    offset_M: Tensor | float = 0.0,
) -> Tensor:
    """Loss of each pair, [M]; winner_M and loser_M are log π − log π_ref of the two responses.

    With h = winner − loser, z = βh + offset, and ε = label_smoothing:
    sigmoid: −(1 − ε)·log σ(z) − ε·log σ(−z) (DPO, arXiv 2305.18290, eq. 7; ε: conservative DPO, a label is
    wrong with probability ε).
    robust: (−(1 − ε)·log σ(z) + ε·log σ(−z)) / (1 − 2ε), whose mean over labels that are flipped with
    probability ε is the DPO loss of the true ones (rDPO, arXiv 2403.00409, eq. 10).
    ipo: (h − 1/(2β))² (arXiv 2310.12036, eq. 17, τ written β), which is least at a finite margin of 1/(2β)
    where the sigmoid has no minimum.  Sums of log-probabilities, as in both papers; means over tokens give
    what some libraries call IPO.
    offset_M: what of a margin is explained by something else, see `length_offset`; not for ipo.

    >>> import torch
    >>> winner, loser = torch.tensor([1.0]), torch.tensor([1.0])
    >>> round(float(direct_preference(winner, loser, beta=0.1, loss="sigmoid", label_smoothing=0.0)), 4)
    0.6931
    """
    margin_M = winner_M - loser_M
    if loss == "ipo":
        return (margin_M - 1 / (2 * beta)).square()
    logits_M = beta * margin_M + offset_M
    right_M, wrong_M = -F.logsigmoid(logits_M), -F.logsigmoid(-logits_M)
    if loss == "robust":
        return ((1 - label_smoothing) * right_M - label_smoothing * wrong_M) / (1 - 2 * label_smoothing)
    return (1 - label_smoothing) * right_M + label_smoothing * wrong_M


def length_offset(winner_tokens_M: Tensor, loser_tokens_M: Tensor, *, penalty: float) -> Tensor:
    """α·(|y_w| − |y_l|): what the length of two responses explains of their margin, [M] (R-DPO,
    arXiv 2403.19159, eq. 8).

    The policy that maximises reward − α·length, held to the reference, has the reward β·log-ratio + α·|y|.
    A longer winner has less to be learned from, a longer loser more.

    >>> import torch
    >>> length_offset(torch.tensor([30]), torch.tensor([10]), penalty=0.25).tolist()
    [5.0]
    """
    return penalty * (winner_tokens_M - loser_tokens_M).float()
