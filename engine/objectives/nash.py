"""The policy gradient of Nash-MD (Munos et al., "Nash learning from human feedback", arXiv 2312.00886)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def nash_md(
    logprobs_N_T: Tensor,
    ref_logprobs_N_T: Tensor,
    mask_N_T: Tensor,
    wins_N: Tensor,
    *,
    beta: float,
    kl: Literal["sequence", "token"] = "sequence",
) -> Tensor:
    """−(P(y ≻ y′) − ½ − β log π/π_ref) · log π(y) of each response, [N]; the weight has no gradient.

    wins_N: how likely y, a sample of π, is preferred to its opponents.  Over samples of π the gradient is
    that of −P(π ≻ π′) + β KL(π ‖ π_ref), π′ held: the paper's.  ½ is a control variate.

    kl `token`: each token's log-ratio weighs that token alone, −Σ_t (P − ½ − β log π_t/π_ref,t) log π_t, as
    in TRL.  It lacks that a token changes what later ones are, β Σ_{s>t} E[∇ log π_t · log π_s/π_ref,s], so
    its gradient is the KL's only where responses have one token.

    >>> logprobs, ref = torch.tensor([[-1.0, -2.0]]), torch.tensor([[-1.5, -1.0]])
    >>> nash_md(logprobs, ref, torch.ones(1, 2).bool(), torch.tensor([0.75]), beta=0.5).tolist()
    [1.5]
    >>> nash_md(logprobs, ref, torch.ones(1, 2).bool(), torch.tensor([0.75]), beta=0.5, kl="token").tolist()
    [1.5]
    """
    ratio_N_T = torch.where(mask_N_T, logprobs_N_T - ref_logprobs_N_T, 0).detach()
    if kl == "sequence":
        ratio_N_T = ratio_N_T.sum(dim=1, keepdim=True)
    weight_N_T = wins_N[:, None] - 0.5 - beta * ratio_N_T
    return -(weight_N_T * torch.where(mask_N_T, logprobs_N_T, 0)).sum(dim=1)
