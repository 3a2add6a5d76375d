"""Losses that teach a scalar score from rankings, ties and ratings.

Shapes: `K` responses of one prompt, `M` pairs of them; `..` stands for any dimensions before (members of an
ensemble of heads).  Ranks count from 1 (best); equal ranks are ties.  A weight multiplies a term and does not
change what the sum is divided by, so weights of mean 1 leave the size of the loss alone.
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
    weight: Tensor | None = None  # [M] float; None is 1 for each

    def to(self, device: torch.device) -> Pairs:
        """The same pairs on another device; an optional column that is missing stays so."""
        return Pairs(*(None if x is None else x.to(device) for x in self))  # type: ignore[arg-type]


class Ties(NamedTuple):
    """Pairs that were judged equal."""

    first: Tensor  # [M] int64
    second: Tensor  # [M] int64
    weight: Tensor | None = None  # [M] float; None is 1 for each

    def to(self, device: torch.device) -> Ties:
        """The same ties on another device; an optional column that is missing stays so."""
        return Ties(*(None if x is None else x.to(device) for x in self))  # type: ignore[arg-type]


def pairs_of(ranks_K: Tensor) -> Pairs:
    """Every pair (i, j) with rank_i < rank_j, in row-major order of (winner, loser).  Ties give no pair."""
    difference_K_K = ranks_K[None, :] - ranks_K[:, None]
    winner_M, loser_M = torch.nonzero(difference_K_K > 0, as_tuple=True)
    return Pairs(winner_M, loser_M, difference_K_K[winner_M, loser_M].float())


def ties_of(ranks_K: Tensor) -> Ties:
    """Every pair (i, j) with i < j and rank_i = rank_j, in row-major order."""
    equal_K_K = (ranks_K[None, :] == ranks_K[:, None]).triu(1)
    return Ties(*torch.nonzero(equal_K_K, as_tuple=True))


def bradley_terry(
    scores_K: Tensor,  # [.., K]
    pairs: Pairs,
    *,
    margin: float = 0.0,
    label_smoothing: float = 0.0,
    centring: float = 0.0,
) -> Tensor:
    """Mean over the M pairs of one prompt of the Bradley–Terry negative log-likelihood, [..].

    −log σ(r_w − r_l), divided by the number of pairs (InstructGPT, arXiv 2203.02155, eq. 1), with
    a margin m·(rank_l − rank_w) subtracted from the difference (Llama 2, arXiv 2307.09288, eq. 2),
    label smoothing ε (cDPO: a label is wrong with probability ε), and centring λ·(r_w + r_l)²
    (Eisenstein et al., arXiv 2312.09244, eq. 2), which fixes the free constant of the scores.

    Raises ValueError when there is no pair: the mean over nothing is not a loss.
    """
    if pairs.winner.numel() == 0:
        raise ValueError("a ranking without a strict preference has no Bradley–Terry loss")
    winner_M, loser_M = scores_K[..., pairs.winner], scores_K[..., pairs.loser]
    logits_M = winner_M - loser_M - margin * pairs.distance.to(scores_K.dtype)
    nll_M = -(1 - label_smoothing) * F.logsigmoid(logits_M) - label_smoothing * F.logsigmoid(-logits_M)
    return _weighted(nll_M + centring * (winner_M + loser_M).square(), pairs.weight).mean(dim=-1)


def davidson(
    scores_K: Tensor,  # [.., K]
    pairs: Pairs,
    ties: Ties,
    log_nu: Tensor,
    *,
    centring: float = 0.0,
) -> Tensor:
    """Mean over strict and tied pairs of the negative log-likelihood of Davidson's model with ties, [..].

    With π = exp r: P(i > j) = π_i / (π_i + π_j + ν√(π_i π_j)), P(i = j) = ν√(π_i π_j) / (the same)
    (R. R. Davidson, J. Am. Stat. Assoc. 65, 1970, eq. 2.3 and 2.4).  ν → 0 without ties is Bradley–Terry.
    log_nu: a scalar that may be learned.  Raises ValueError when there is neither pair nor tie.
    """
    win_M, sum_M = _differences(scores_K, pairs.winner, pairs.loser)
    equal_M, tied_sum_M = _differences(scores_K, ties.first, ties.second)

    def normaliser(difference_M: Tensor) -> Tensor:  # of probabilities divided by √(π_i π_j)
        parts = (difference_M / 2, -difference_M / 2, log_nu.expand_as(difference_M))
        return torch.logsumexp(torch.stack(parts), dim=0)

    nll = (normaliser(win_M) - win_M / 2, normaliser(equal_M) - log_nu)
    return _with_ties(nll, (sum_M, tied_sum_M), (pairs.weight, ties.weight), centring)


def rao_kupper(
    scores_K: Tensor,  # [.., K]
    pairs: Pairs,
    ties: Ties,
    log_theta: Tensor,
    *,
    centring: float = 0.0,
) -> Tensor:
    """Mean over strict and tied pairs of the negative log-likelihood of Rao and Kupper's model, [..].

    With π = exp r, θ ≥ 1: P(i > j) = π_i / (π_i + θ π_j), P(i = j) = (θ² − 1) π_i π_j / ((π_i + θ π_j)
    (π_j + θ π_i)) (P. V. Rao and L. L. Kupper, J. Am. Stat. Assoc. 62, 1967, eq. 3.1): a difference below
    log θ is not noticed.  θ = 1 without ties is Bradley–Terry.
    log_theta: a scalar ≥ 0 that may be learned; 0 gives ties an infinite loss.  Raises ValueError when there
    is neither pair nor tie.
    """
    win_M, sum_M = _differences(scores_K, pairs.winner, pairs.loser)
    equal_M, tied_sum_M = _differences(scores_K, ties.first, ties.second)
    tied_nll_M = -F.logsigmoid(equal_M - log_theta) - F.logsigmoid(-equal_M - log_theta)
    if ties.first.numel():
        tied_nll_M = tied_nll_M - torch.log(torch.expm1(2 * log_theta))
    nll = (-F.logsigmoid(win_M - log_theta), tied_nll_M)
    return _with_ties(nll, (sum_M, tied_sum_M), (pairs.weight, ties.weight), centring)


def plackett_luce(scores_K: Tensor, ranks_K: Tensor) -> Tensor:
    """Negative log-likelihood of a whole ranking with tie groups, divided by its number of choices, [..].

    Each choice takes one response out of those not yet placed (R. L. Plackett, Appl. Stat. 24, 1975; Luce
    1959); members of a tie group are each chosen against themselves and everything below the group (Breslow's
    approximation for ties): −Σ_g Σ_{i∈g} [ s_i − log Σ_{j: rank_j ≥ rank_g} exp s_j ].  With K = 2 it is
    Bradley–Terry.  The last group is no choice and counts nothing.

    scores_K: [.., K].  Raises ValueError when everything ties.
    """
    at_or_below_K_K = ranks_K[None, :] >= ranks_K[:, None]
    pool_K_K = scores_K[..., None, :].masked_fill(~at_or_below_K_K, -torch.inf)
    choice_K = ranks_K < ranks_K.max()
    if not bool(choice_K.any()):
        raise ValueError("a ranking in which everything ties has no Plackett–Luce loss")
    return (torch.logsumexp(pool_K_K, dim=-1) - scores_K)[..., choice_K].mean(dim=-1)


def choices_of(ranks_K: Tensor) -> int:
    """Choices that `plackett_luce` divides by: responses ranked above the last group."""
    return int((ranks_K < ranks_K.max()).sum())


def rating_error(scores_M: Tensor, target_M: Tensor, weight_M: Tensor | None = None) -> Tensor:
    """Mean squared error (r − z)² of scores against standardised ratings, [..].

    Regression on ratings as in HelpSteer (arXiv 2311.09528, section 3.2); up to constants the negative
    log-likelihood of z ~ N(r, 1).  scores_M: [.., M].
    """
    if target_M.numel() == 0:
        raise ValueError("there is no rating to learn from")
    return _weighted((scores_M - target_M).square(), weight_M).mean(dim=-1)


def _differences(scores_K: Tensor, one_M: Tensor, other_M: Tensor) -> tuple[Tensor, Tensor]:
    one, other = scores_K[..., one_M], scores_K[..., other_M]
    return one - other, one + other


def _weighted(terms_M: Tensor, weight_M: Tensor | None) -> Tensor:
    return terms_M if weight_M is None else terms_M * weight_M.to(terms_M.dtype)


def _with_ties(
    nll: tuple[Tensor, Tensor],
    sums: tuple[Tensor, Tensor],
    weights: tuple[Tensor | None, Tensor | None],
    centring: float,
) -> Tensor:
    """Mean over strict and tied pairs together, each with its centring penalty."""
    terms = [
        _weighted(terms_M + centring * sum_M.square(), weight_M)
        for terms_M, sum_M, weight_M in zip(nll, sums, weights, strict=True)
    ]
    both_M = torch.cat(terms, dim=-1)
    if both_M.shape[-1] == 0:
        raise ValueError("there is neither a preference nor a tie to learn from")
    return both_M.mean(dim=-1)
