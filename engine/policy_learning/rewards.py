"""What policy learning maximises: components, their normalisation, and how they become one score.

Each component (each member of an ensemble) is shifted and scaled to mean 0 and variance 1 on reference
samples; then they are added with their weights, or taken pessimistically as an ensemble; a cost is
subtracted with its multiplier.  `M` members, `N` responses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.models.scale import Scale
from engine.objectives.rewards import constrained, pessimistic
from engine.policy_learning.reward_parts import (
    Conversation,
    FunctionPart,
    ModelPart,
    Part,
    Scales,
    import_function,
    model_part,
)
from engine.protocol.configs import PolicyLearningConfig, RewardedConfig
from engine.protocol.rewards import Component, Ensemble, components_of
from engine.text import Tokeniser


@dataclass(frozen=True)
class Scored:
    """What the reward saw of N responses, before normalisation."""

    members: dict[str, Tensor]  # by component, [M, N]
    components: dict[str, Tensor]  # by component, its members' mean, [N]
    scores: Tensor  # [N] the weighted sum of components: the score as the reward models give it
    cost: Tensor | None  # [N] of the constraint's model


@dataclass(frozen=True)
class ScoreScale:
    """Shift and scale that give the scores of reference samples mean 0 and variance 1, by component.

    A component that it does not know is left as it is.
    """

    means: dict[str, list[float]] = field(default_factory=dict)  # M numbers a component
    stds: dict[str, list[float]] = field(default_factory=dict)
    cost_std: float = 1.0

    @classmethod
    def of(cls, scored: Scored) -> ScoreScale:
        means, stds = {}, {}
        for name, members_M_N in scored.members.items():
            means[name] = [float(mean) for mean in members_M_N.double().mean(dim=1)]
            stds[name] = [_spread(row) for row in members_M_N]
        return cls(means, stds, 1.0 if scored.cost is None else _spread(scored.cost))

    def normalised(self, name: str, members_M_N: Tensor) -> Tensor:
        if name not in self.means:
            return members_M_N
        mean, std = torch.tensor(self.means[name]), torch.tensor(self.stds[name])
        return (members_M_N - mean[:, None]) / std[:, None]

    def to_json(self) -> dict[str, Any]:
        return {"means": self.means, "stds": self.stds, "cost_std": self.cost_std}


def _spread(scores_N: Tensor) -> float:
    std = float(scores_N.double().std(unbiased=False))
    return std if std > 1e-6 else 1.0


@dataclass(frozen=True)
class Rewards:
    """Everything that scores responses."""

    parts: list[Part]
    ensemble: Ensemble | None
    cost: Part | None
    bound: float  # of the mean cost, as its model scores
    gold: Part | None  # only watches

    def score(self, conversations: Sequence[Conversation], budget: int) -> Scored:
        """Raw scores of all components; `budget` bounds the padded tokens of one forward."""
        members = {part.component.source: part.members(conversations, budget) for part in self.parts}
        components = {name: found.mean(dim=0) for name, found in members.items()}
        total = torch.zeros(len(conversations))
        for part in self.parts:
            total += part.component.weight * components[part.component.source]
        cost = None if self.cost is None else self.cost.members(conversations, budget).mean(dim=0)
        return Scored(members, components, total, cost)

    def gold_scores(self, conversations: Sequence[Conversation], budget: int) -> Tensor | None:
        """[N]; None without a gold scorer."""
        return None if self.gold is None else self.gold.members(conversations, budget).mean(dim=0)

    def combined(self, scored: Scored, scale: ScoreScale, multiplier: float) -> Tensor:
        """The one score that is maximised, [N]."""
        total = torch.zeros_like(scored.scores)
        members: list[Tensor] = []
        for part in self.parts:
            name = part.component.source
            normalised_M_N = scale.normalised(name, scored.members[name])
            if self.ensemble is not None and not part.component.is_function:
                members.append(normalised_M_N)
            else:
                total += part.component.weight * normalised_M_N.mean(dim=0)
        if self.ensemble is not None:
            penalty = None if self.ensemble.kind == "minimum" else self.ensemble.penalty
            total += pessimistic(torch.cat(members), penalty=penalty)
        if scored.cost is not None:
            total = constrained(total, self.excess(scored.cost, scale), multiplier)
        return total

    def excess(self, cost_N: Tensor, scale: ScoreScale) -> Tensor:
        """How far each cost lies above the bound, in standard deviations of the reference samples'.  [N]"""
        return (cost_N - self.bound) / scale.cost_std

    @property
    def main(self) -> Scale | None:
        """The first reward model, from which a critic starts; None when all components are functions."""
        return next((part.scale for part in self.parts if isinstance(part, ModelPart)), None)


def final_scores(combined_N: Tensor, stopped_N: Tensor, penalty: float) -> Tensor:
    """One that never stopped has the fixed penalty instead of its score.  [N]"""
    return torch.where(stopped_N, combined_N, penalty)


def load_rewards(
    config: RewardedConfig, folders: Mapping[str, Path], tokeniser: Tokeniser, scales: Scales
) -> Rewards:
    """Load reward models, from the folders of their roles, and import functions.

    Raises UsageError, one sentence naming what is wrong.
    """
    ensemble = Ensemble.parse(config.ensemble)

    def part(component: Component, role: str, by_member: bool = False) -> Part:
        return model_part(component, scales.load(folders[role]), by_member=by_member)

    parts: list[Part] = []
    for component in components_of(config.reward_model, config.rewards):
        if component.is_function:
            parts.append(FunctionPart(component, import_function(component.source), tokeniser))
        else:
            own = component.source == config.reward_model
            role = "reward_model" if own else component.role
            parts.append(part(component, role, by_member=ensemble is not None))
    constraint = getattr(config, "constraint", "")
    return Rewards(
        parts=parts,
        ensemble=ensemble,
        cost=part(Component(constraint), "constraint") if constraint else None,
        bound=config.constraint_bound if isinstance(config, PolicyLearningConfig) else 0.0,
        gold=part(Component(config.gold), "gold") if config.gold else None,
    )
