"""What a reward model learns from one prompt: the terms of its judgements, and the loss over them.

A response under one criterion has one score, so the scores [.., K, C] of a prompt are flattened to K·C and
the terms point into that.  Shapes: `E` members of the ensemble, `K` responses, `C` criteria.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.errors import UsageError
from engine.objectives.ranking import (
    Pairs,
    Ties,
    bradley_terry,
    choices_of,
    davidson,
    plackett_luce,
    rao_kupper,
    rating_error,
)
from engine.protocol.configs import RewardConfig
from engine.protocol.configs.reward import WITH_TIES
from engine.reward_learning.fine_tuning.annotators import Annotator
from engine.reward_learning.fine_tuning.data import Element

LEAST_TIES = 0.01  # share of ties that a learned tie parameter starts from at least


@dataclass(frozen=True)
class Terms:
    """The judgements of one prompt; indices point into its K·C scores."""

    pairs: Pairs
    ties: Ties
    rankings: tuple[tuple[Tensor, Tensor, float], ...]  # indices, ranks, weight; none that only ties
    rated: Tensor  # [M] int64
    target: Tensor  # [M] float32, standardised ratings
    rated_weight: Tensor  # [M]
    best: int  # the response of the best mean place, for the language-model loss

    def to(self, device: torch.device) -> Terms:
        """The same terms on another device."""
        rankings = tuple((i.to(device), r.to(device), w) for i, r, w in self.rankings)
        rated = (self.rated.to(device), self.target.to(device), self.rated_weight.to(device))
        return Terms(self.pairs.to(device), self.ties.to(device), rankings, *rated, self.best)


Standards = Mapping[tuple[str, int], tuple[float, float]]
"""Mean and standard deviation of the ratings of an annotator by a criterion."""


def standards_of(elements: Sequence[Element]) -> dict[tuple[str, int], tuple[float, float]]:
    """How each annotator rates; people whose ratings are all equal are left out."""
    ratings: dict[tuple[str, int], list[float]] = defaultdict(list)
    for element in elements:
        for judgement in element.judgements:
            if judgement.ratings is not None:
                ratings[judgement.annotator, judgement.criterion] += judgement.ratings.tolist()
    ratings_by_key = {key: torch.tensor(values, dtype=torch.float64) for key, values in ratings.items()}
    spreads = {key: (float(x.mean()), float(x.std(unbiased=False))) for key, x in ratings_by_key.items()}
    return {key: standard for key, standard in spreads.items() if standard[1] > 0}


def terms_of(
    element: Element, criteria: int, annotators: Mapping[str, Annotator], standards: Standards
) -> Terms:
    """The judgements of a prompt as terms of a loss, each with its annotator's weight."""
    pairs, ties, rankings, rated = [], [], [], []
    places: dict[int, list[float]] = defaultdict(list)
    for judgement in element.judgements:
        person = annotators.get(judgement.annotator)
        weight = 1.0 if person is None else person.weight
        at = judgement.indices * criteria + judgement.criterion
        one, tied = judgement.pairs, judgement.ties
        flat = [x * criteria + judgement.criterion for x in (*one[:2], *tied[:2])]
        pairs.append([*flat[:2], one.distance, _full(one, weight)])
        ties.append([*flat[2:], _full(tied, weight)])
        if len(judgement.ranks.unique()) > 1:
            rankings.append((at, judgement.ranks, weight))
        standard = standards.get((judgement.annotator, judgement.criterion))
        if judgement.ratings is not None and standard is not None:
            target = ((judgement.ratings - standard[0]) / standard[1]).float()
            rated.append([at, target, torch.full_like(target, weight)])
        for response, rank in zip(judgement.indices.tolist(), judgement.ranks.tolist(), strict=True):
            places[response].append(rank / len(judgement.ranks))
    nothing = torch.zeros(0, dtype=torch.long)
    return Terms(
        pairs=Pairs(*map(torch.cat, zip(*pairs, strict=True))),
        ties=Ties(*map(torch.cat, zip(*ties, strict=True))),
        rankings=tuple(rankings),
        rated=torch.cat([r[0] for r in rated] or [nothing]),
        target=torch.cat([r[1] for r in rated] or [nothing.float()]),
        rated_weight=torch.cat([r[2] for r in rated] or [nothing.float()]),
        best=min(places, key=lambda k: (sum(places[k]) / len(places[k]), k)),
    )


def _full(pairs: Pairs | Ties, weight: float) -> Tensor:
    return torch.full((len(pairs[0]),), weight)


class Objective(nn.Module):
    """The loss of a configuration, with its tie parameter, learned or fixed."""

    def __init__(self, config: RewardConfig, tie_share: float) -> None:
        """tie_share: share of judged pairs that tie, where a learned tie parameter starts.

        Raises UsageError for settings that do not go together.
        """
        super().__init__()
        check(config)
        self.config = config
        share = min(max(tie_share, LEAST_TIES), 0.9)
        # The share of ties between equally good responses is ν / (2 + ν), or (θ − 1) / (θ + 1).
        nu, theta = 2 * share / (1 - share), (1 + share) / (1 - share)
        if config.objective == "davidson":
            start = math.log(config.tie or nu)
        else:  # the parameter is softplus⁻¹(log θ), so that θ stays above 1
            start = math.log(math.expm1(config.tie or math.log(theta)))
        learned = config.objective in WITH_TIES and config.tie == 0
        self.tie = nn.Parameter(torch.tensor(start), requires_grad=learned)

    @property
    def tie_strength(self) -> Tensor:
        """Davidson's log ν, or Rao and Kupper's log θ."""
        return self.tie if self.config.objective == "davidson" else nn.functional.softplus(self.tie)

    @property
    def tie_setting(self) -> float:
        """As the setting `tie` has it: Davidson's ν, or Rao and Kupper's log θ."""
        strength = float(self.tie_strength.detach())
        return math.exp(strength) if self.config.objective == "davidson" else strength

    def forward(self, scores_E_K_C: Tensor, terms: Terms) -> Tensor:
        """Loss of one prompt for every member of the ensemble, [E]."""
        config, scores = self.config, scores_E_K_C.flatten(-2)
        match config.objective:
            case "bradley_terry":
                return bradley_terry(
                    scores,
                    terms.pairs,
                    margin=config.margin,
                    label_smoothing=config.label_smoothing,
                    centring=config.centring,
                )
            case "davidson":
                return davidson(scores, terms.pairs, terms.ties, self.tie_strength, centring=config.centring)
            case "rao_kupper":
                return rao_kupper(
                    scores, terms.pairs, terms.ties, self.tie_strength, centring=config.centring
                )
            case "plackett_luce":
                return _rankings_loss(scores, terms, config.centring)
            case "rating":
                return rating_error(scores[..., terms.rated], terms.target, terms.rated_weight)


def _rankings_loss(scores: Tensor, terms: Terms, centring: float) -> Tensor:
    """Mean over the choices of all rankings of a prompt; centring is λ·(2 · mean of a ranking)²."""
    total, choices = scores.new_zeros(scores.shape[:-1]), 0
    for indices, ranks, weight in terms.rankings:
        ranked, count = scores[..., indices], choices_of(ranks)
        centre = (2 * ranked.mean(dim=-1)).square()
        total = total + weight * count * (plackett_luce(ranked, ranks) + centring * centre)
        choices += count
    return total / choices


def check(config: RewardConfig) -> None:
    """Raises UsageError for settings that do not go together."""
    if config.objective != "bradley_terry" and (config.margin or config.label_smoothing):
        raise UsageError(
            f"margin and label_smoothing belong to bradley_terry; set both to 0 for {config.objective}."
        )
    if config.tie and config.objective not in WITH_TIES:
        raise UsageError(f"{config.objective} has no tie parameter; choose davidson or rao_kupper, or tie 0.")
    if config.annotators == "majority" and config.objective in (*WITH_TIES, "rating"):
        raise UsageError(
            f"A majority gives strict pairs only, and {config.objective} learns from more; "
            "choose annotators apart."
        )
    if config.length == "controlled" and config.tuning != "frozen":
        raise UsageError(
            f"length controlled is for tuning frozen, and tuning is {config.tuning}; choose length raw or "
            "tuning frozen."
        )
    if config.annotators == "majority" and config.weights != "equal":
        raise UsageError("A majority has no annotators to weigh; choose weights equal or annotators apart.")
