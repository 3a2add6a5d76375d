"""Direct preference losses: a policy taught by pairs, its log-ratio to the reference being the reward.

`M` pairs.  The implicit reward of a response is β·(log π(y|x) − log π_ref(y|x)), log-probabilities summed
over the tokens of the response.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Loss = Literal["sigmoid", "ipo"]


def direct_preference(
    winner_M: Tensor, loser_M: Tensor, *, beta: float, loss: Loss = "sigmoid", label_smoothing: float = 0.0
) -> Tensor:
    """Loss of each pair, [M]; winner_M and loser_M are log π − log π_ref of the two responses.

    With h = winner − loser:
    sigmoid: −(1 − ε)·log σ(βh) − ε·log σ(−βh) (DPO, arXiv 2305.18290, eq. 7; ε: conservative DPO, a label is
    wrong with probability ε).  ipo: (h − 1/(2β))² (arXiv 2310.12036, eq. 17, τ written β), which is least at
    a finite margin of 1/(2β) where the sigmoid has no minimum.  Sums of log-probabilities, as in both papers;
    some libraries take IPO's as means over tokens.

    >>> import torch
    >>> winner, loser = torch.tensor([1.0]), torch.tensor([1.0])
    >>> round(float(direct_preference(winner, loser, beta=0.1, loss="sigmoid", label_smoothing=0.0)), 4)
    0.6931
    """
    margin_M = winner_M - loser_M
    if loss == "ipo":
        return (margin_M - 1 / (2 * beta)).square()
    logits_M = beta * margin_M
    return -(1 - label_smoothing) * F.logsigmoid(logits_M) - label_smoothing * F.logsigmoid(-logits_M)
