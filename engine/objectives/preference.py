"""How well scores agree with judgements.  `M` pairs, `K` responses of one prompt."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def accuracy(margin_M: Tensor) -> float:
    """Share of pairs whose winner scores higher; equal scores count one half, so a constant scorer has 0.5.

    margin_M: score of the winner minus score of the loser.  NaN without pairs.

    >>> accuracy(torch.tensor([1.5, -0.5, 0.0, 2.0]))
    0.625
    """
    if margin_M.numel() == 0:
        return float("nan")
    return float(((margin_M > 0).double() + 0.5 * (margin_M == 0).double()).mean())


def log_loss(margin_M: Tensor) -> float:
    """Mean −log σ(r_w − r_l) in nats; log 2 for a constant scorer.  NaN without pairs.

    >>> round(log_loss(torch.zeros(3)), 4)
    0.6931
    """
    return float(-F.logsigmoid(margin_M.double()).mean()) if margin_M.numel() else float("nan")


def kendall_tau(scores_K: Tensor, ranks_K: Tensor) -> float:
    """Kendall's τ_b between scores (high is good) and ranks (low is good), ties allowed on both sides.

    (concordant − discordant) / √((n₀ − ties in scores)(n₀ − ties in ranks)) (Kendall 1945).
    NaN when one side ties everywhere.

    >>> round(kendall_tau(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([1, 3, 2])), 3)
    0.333
    """
    upper = torch.triu(torch.ones(len(scores_K), len(scores_K), dtype=torch.bool), diagonal=1)
    by_score = torch.sign(scores_K[:, None] - scores_K[None, :])[upper].double()
    by_rank = torch.sign(ranks_K[None, :] - ranks_K[:, None])[upper].double()
    norm = (by_score.square().sum() * by_rank.square().sum()).sqrt()
    return float((by_score * by_rank).sum() / norm) if norm > 0 else float("nan")


def win_probabilities(scores_N: Tensor, group_N: Tensor) -> Tensor:
    """How likely each response is preferred to another one of its group, [N]: the mean of σ(s_i − s_j) over
    the others (Bradley–Terry); ½ where there is none.

    >>> win_probabilities(torch.tensor([1.0, 1.0, 5.0]), torch.tensor([0, 0, 1])).tolist()
    [0.5, 0.5, 0.5]
    """
    return mean_wins(torch.sigmoid(scores_N[:, None] - scores_N[None, :]), group_N)


def mean_wins(wins_N_N: Tensor, group_N: Tensor) -> Tensor:
    """As `win_probabilities` from P(row ≻ column), [N, N], instead of scores.

    >>> mean_wins(torch.tensor([[0.5, 0.75], [0.25, 0.5]]), torch.tensor([0, 0])).tolist()
    [0.75, 0.25]
    """
    same = (group_N[:, None] == group_N[None, :]) & ~torch.eye(len(group_N), dtype=torch.bool)
    others_N = same.sum(dim=1)
    mean_N = torch.where(same, wins_N_N, 0).sum(dim=1) / others_N.clamp_min(1)
    return torch.where(others_N > 0, mean_N, 0.5)


def antisymmetric(said_N_N: Tensor) -> Tensor:
    """P(row ≻ column) of what a judge said of every ordered pair, [N, N]: ½·(P + 1 − Pᵀ), so that both orders
    give one answer and nothing is preferred to itself.

    >>> antisymmetric(torch.tensor([[0.5, 0.75], [0.75, 0.5]])).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    return 0.5 * (said_N_N + 1 - said_N_N.T)


def intransitive_share(wins_N_N: Tensor, group_N: Tensor) -> float:
    """Share of triples of a group, each pair of them decided, whose majority runs in a circle: what no score
    can express (Munos et al., "Nash learning from human feedback", arXiv 2312.00886, §3).  NaN without any.

    Of a tournament on K players C(K, 3) − Σ C(wins, 2) triples are cyclic (Kendall and Babington Smith 1940).

    >>> wins = torch.tensor([[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]])
    >>> intransitive_share(wins, torch.tensor([0, 0, 0]))
    1.0
    """
    same = group_N[:, None] == group_N[None, :]
    beats = ((wins_N_N > 0.5) & same).double()
    paths = beats @ beats  # [i, k]: j that i beats and that beats k
    cyclic = float((paths * beats.T).sum()) / 3
    decided = beats + beats.T
    triples = float(((decided @ decided) * decided).sum()) / 6
    return cyclic / triples if triples else float("nan")


def correlation(x_M: Tensor, y_M: Tensor) -> float:
    """Pearson's correlation; NaN with fewer than two values or when one side is constant."""
    if x_M.numel() < 2:
        return float("nan")
    x, y = x_M.double() - x_M.double().mean(), y_M.double() - y_M.double().mean()
    norm = x.norm() * y.norm()
    return float((x * y).sum() / norm) if norm > 0 else float("nan")
