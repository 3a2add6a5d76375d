"""What policy learning and best-of-n maximise: components, and how they become one score.

Each component (each member of an ensemble) is shifted and scaled (`score_scale`); then they are added with
their weights, or taken pessimistically as an ensemble; costs are subtracted with their multipliers; last, a
response that never stopped has a penalty.  `M` members, `N` responses.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from engine.models.reward_model import RewardModel
from engine.objectives.groups import penalised
from engine.objectives.rewards import cautious, constrained, pessimistic
from engine.policy_learning.preference_function import PreferenceFunction
from engine.policy_learning.rewards.judges import JudgedSamples, JudgePart, open_judge
from engine.policy_learning.rewards.pairwise import PairwiseModel
from engine.policy_learning.rewards.parts import (
    Conversation,
    ModelPart,
    RewardModels,
    RewardPart,
    function_part,
    model_part,
)
from engine.policy_learning.rewards.process import StepRewards, step_rewards
from engine.policy_learning.rewards.score_scale import RewardScores, ScoreScale
from engine.protocol.configs import RewardedConfig
from engine.protocol.events import Event
from engine.protocol.rewards import Component, Constraint, Ensemble
from engine.protocol.rundir import RunDir
from engine.text import Tokeniser

NONE: Mapping[str, float] = {}


@dataclass(frozen=True)
class Rewards:
    """Everything that scores responses."""

    parts: list[RewardPart]
    ensemble: Ensemble | None
    gold: RewardPart | None = None  # only watches
    constraints: Sequence[Constraint] = ()
    costs: Sequence[RewardPart] = ()  # what they bound, where it is not maximised too
    process: StepRewards | None = None  # pays at the ends of steps
    pairwise: PairwiseModel | None = None  # compares samples
    judges: Sequence[JudgePart] = ()  # of components, and with weight 0 of what is bounded alone
    comparing: JudgePart | None = None  # compares samples in the place of `pairwise`
    preference: PreferenceFunction | None = None  # does so in the place of both

    @property
    def components(self) -> list[Component]:
        """Everything that is maximised."""
        return [part.component for part in self.parts] + [judge.component for judge in self.judges]

    def judged(
        self, conversations: Sequence[Conversation]
    ) -> Generator[Event, None, dict[str, JudgedSamples]]:
        """What the judges say, by name.  Raises as `JudgePart.judged` does."""
        said: dict[str, JudgedSamples] = {}
        for judge in self.judges:
            said[judge.name] = yield from judge.judged(conversations)
        return said

    def score(self, conversations: Sequence[Conversation], budget: int) -> RewardScores:
        """Raw scores of all components; `budget` bounds the padded tokens of one forward."""
        members = {part.component.source: part.members(conversations, budget) for part in self.parts}
        components = {name: scores_M_N.mean(dim=0) for name, scores_M_N in members.items()}
        total = torch.zeros(len(conversations))
        for part in self.parts:
            total += part.component.weight * components[part.component.source]
        every = components | {
            part.component.source: part.members(conversations, budget).mean(dim=0) for part in self.costs
        }
        wanted = [constraint.component.source for constraint in self.constraints]
        return RewardScores(
            members, components, total, {name: every[name] for name in wanted if name in every}
        )

    def with_judged(self, scored: RewardScores, said: Mapping[str, JudgedSamples]) -> RewardScores:
        """The scores with those of the judges, which are components as others."""
        if not said:
            return scored
        total, aside = scored.scores.clone(), dict(scored.aside)
        for judge in self.judges:
            total += judge.component.weight * said[judge.name].scores
            aside |= said[judge.name].told
        own = {name: one.scores for name, one in said.items()}
        members = scored.members | {name: scores[None] for name, scores in own.items()}
        wanted = {constraint.component.source for constraint in self.constraints}
        costs = scored.costs | {name: scores for name, scores in own.items() if name in wanted}
        components = scored.components | own
        return replace(scored, members=members, components=components, scores=total, costs=costs, aside=aside)

    def cut(self, conversations: Sequence[Conversation]) -> Tensor:
        """Which conversations are longer than some reward model that is maximised reads of them, [N] bool."""
        cut_N = torch.zeros(len(conversations), dtype=torch.bool)
        for part in self.parts:
            cut_N |= part.cut(conversations)
        return cut_N

    def gold_scores(self, conversations: Sequence[Conversation], budget: int) -> Tensor | None:
        """[N]; None without a gold scorer."""
        return None if self.gold is None else self.gold.members(conversations, budget).mean(dim=0)

    def objective(
        self,
        scored: RewardScores,
        scale: ScoreScale,
        *,
        stopped_N: Tensor,
        group_N: Tensor,
        penalty: float,
        multipliers: Mapping[str, float] = NONE,
    ) -> Tensor:
        """What every job that learns from rewards maximises, before any KL: [N].

        The combined score of a response that ended by itself; for one that the budget cut, the mean of those
        of its prompt (`group_N`) that did, plus `penalty`.
        """
        return penalised(self.combined(scored, scale, group_N, multipliers), stopped_N, group_N, penalty)

    def combined(
        self,
        scored: RewardScores,
        scale: ScoreScale,
        group_N: Tensor,
        multipliers: Mapping[str, float] = NONE,
    ) -> Tensor:
        """One score of all components, [N]; multipliers: by the constraint's name."""
        together = self.ensemble is not None and self.ensemble.kind == "mean-deviation"
        total = torch.zeros_like(scored.scores)
        members: list[Tensor] = []
        for component in self.components:
            normalised_M_N = scale.normalised(
                component.source, scored.members[component.source], together=together
            )
            if self.ensemble is not None and component.is_model:
                members.append(normalised_M_N)
            else:
                total += component.weight * normalised_M_N.mean(dim=0)
        if self.ensemble is not None:
            total += _of_ensemble(self.ensemble, torch.cat(members), group_N)
        if self.constraints:
            excess = self.excess(scored, scale)
            total = constrained(
                total, torch.stack(list(excess.values())), [multipliers[name] for name in excess]
            )
        return total

    def excess(self, scored: RewardScores, scale: ScoreScale) -> dict[str, Tensor]:
        """How far each response lies on the wrong side of each bound, in standard deviations within a prompt:
        [N] by the constraint's name.
        """
        return {
            one.name: one.sign
            * (scored.costs[one.component.source] - one.bound)
            / scale.cost_stds.get(one.component.source, 1.0)
            for one in self.constraints
        }

    def close(self) -> None:
        """Let the judges go."""
        for judge in self.judges:
            judge.close()
        if self.comparing is not None:
            self.comparing.close()

    @property
    def main(self) -> RewardModel | None:
        """The first reward model, from which a critic starts; None when all components are functions."""
        return next((part.reward_model for part in self.parts if isinstance(part, ModelPart)), None)


def _of_ensemble(ensemble: Ensemble, members_M_N: Tensor, group_N: Tensor) -> Tensor:
    if ensemble.kind == "mean-deviation":
        return cautious(members_M_N, group_N, penalty=ensemble.penalty)
    return pessimistic(members_M_N, penalty=None if ensemble.kind == "minimum" else ensemble.penalty)


def load_rewards(
    config: RewardedConfig,
    folders: Mapping[str, Path],
    tokeniser: Tokeniser,
    reward_models: RewardModels,
    run: RunDir,
) -> Rewards:
    """Load reward models, from the folders of their roles, import functions, and open judges.

    Raises UsageError, one sentence naming what is wrong.
    """
    ensemble = Ensemble.parse(config.ensemble)

    def model(component: Component, role: str, by_member: bool = False) -> RewardPart:
        loaded = replace(reward_models.load(folders[role]), aggregate=config.step_score)
        return model_part(component, loaded, by_member=by_member, policy=tokeniser)

    def part(component: Component, by_member: bool = False) -> RewardPart:
        if component.is_function:
            return function_part(component, config.function_seconds, tokeniser)
        role = "reward_model" if component.source == config.reward_model else component.role
        return model(component, role, by_member)

    components, constraints = config.components(), config.constrained()
    known = {component.source for component in components}
    bounded = {one.component.source: replace(one.component, weight=0.0) for one in constraints}
    others = [component for name, component in bounded.items() if name not in known]
    process, weight = config.paying_for_steps()
    compared_by = config.comparing_judge()
    return Rewards(
        parts=[part(one, by_member=ensemble is not None) for one in components if not one.file],
        ensemble=ensemble,
        constraints=constraints,
        costs=[part(one) for one in others if not one.file],
        gold=model(Component(config.gold), "gold") if config.gold else None,
        process=step_rewards(process, reward_models.load(folders["process"]), weight, tokeniser)
        if process
        else None,
        pairwise=PairwiseModel.load(
            config.comparing(), folders["pairwise"], reward_models.load(folders["pairwise"])
        )
        if config.comparing()
        else None,
        judges=[
            open_judge(one, run, folders, config.dtype, config.device)
            for one in (*components, *others)
            if one.file
        ],
        comparing=None
        if compared_by is None
        else open_judge(compared_by, run, folders, config.dtype, config.device),
        preference=PreferenceFunction(config.comparing_function(), config.function_seconds)
        if config.comparing_function()
        else None,
    )
