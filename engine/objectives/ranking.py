"""Losses that teach a scalar score from rankings.

Shapes: `M` pairs, `K` responses of one prompt.  Ranks count from 1 (best); equal ranks are ties.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Pairs(NamedTuple):
    """Strict preferences implied by a ranking; indices point into the responses of the prompt."""

    winner: Tensor  # [M] int64
    loser: Tensor  # [M] int64
    distance: Tensor  # [M] float, difference of ranks, ≥ 1

    def to(self, device: torch.device) -> Pairs:
        return Pairs(self.winner.to(device), self.loser.to(device), self.distance.to(device))


def pairs_of(ranks_K: Tensor) -> Pairs:
    """Every pair (i, j) with rank_i < rank_j, in row-major order of (winner, loser).  Ties give no pair."""
    difference_K_K = ranks_K[None, :] - ranks_K[:, None]
    winner_M, loser_M = torch.nonzero(difference_K_K > 0, as_tuple=True)
    return Pairs(winner_M, loser_M, difference_K_K[winner_M, loser_M].float())


def bradley_terry(
    scores_K: Tensor,
    pairs: Pairs,
    *,
    margin: float = 0.0,
    label_smoothing: float = 0.0,
    centring: float = 0.0,
) -> Tensor:
    """Mean over the M pairs of one prompt of the Bradley–Terry negative log-likelihood, a scalar.

    −log σ(r_w − r_l), divided by the number of pairs (InstructGPT, arXiv 2203.02155, eq. 1), with
    a margin m·(rank_l − rank_w) subtracted from the difference (Llama 2, arXiv 2307.09288, eq. 2),
    label smoothing ε (cDPO: a label is wrong with probability ε), and centring λ·(r_w + r_l)²
    (Eisenstein et al., arXiv 2312.09244, eq. 2), which fixes the free constant of the scores.

    Raises ValueError when there is no pair: the mean over nothing is not a loss.
    """
    if pairs.winner.numel() == 0:
        raise ValueError("a ranking without a strict preference has no Bradley–Terry loss")
    winner_M, loser_M = scores_K[pairs.winner], scores_K[pairs.loser]
    logits_M = winner_M - loser_M - margin * pairs.distance.to(scores_K.dtype)
    nll_M = -(1 - label_smoothing) * F.logsigmoid(logits_M) - label_smoothing * F.logsigmoid(-logits_M)
    return (nll_M + centring * (winner_M + loser_M).square()).mean()


def plackett_luce(scores_K: Tensor, ranks_K: Tensor) -> Tensor:
    """Negative log-likelihood of a whole ranking with tie groups, divided by its number of choices.

    Each choice takes one response out of those not yet placed; members of a tie group are each chosen
    against themselves and everything below the group (Breslow's approximation for ties):
    −Σ_g Σ_{i∈g} [ s_i − log Σ_{j: rank_j ≥ rank_g} exp s_j ].  With K = 2 it is Bradley–Terry.
    The last group is no choice and counts nothing.
    """
    at_or_below_K_K = ranks_K[None, :] >= ranks_K[:, None]
    pool_K = scores_K[None, :].expand_as(at_or_below_K_K).masked_fill(~at_or_below_K_K, -torch.inf)
    choice_K = ranks_K < ranks_K.max()
    if not bool(choice_K.any()):
        raise ValueError("a ranking in which everything ties has no Plackett–Luce loss")
    return (torch.logsumexp(pool_K, dim=1) - scores_K)[choice_K].mean()
