"""The scale of scores: shift and spread of each component on samples of the policy before it learns.

Policy learning and best-of-n take it from the same samples, so that what they maximise is one quantity.
`M` members of an ensemble, `N` responses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from engine.objectives.groups import spread_within
from engine.protocol.events import Message
from engine.wording import counted

UNSURE = 0.2  # standard error over spread from which the person is warned
NO_SPREAD = 1e-6


@dataclass(frozen=True)
class RewardScores:
    """What the reward saw of N responses, before normalisation."""

    members: dict[str, Tensor]  # by component, [M, N]
    components: dict[str, Tensor]  # by component, its members' mean, [N]
    scores: Tensor  # [N] the weighted sum of components: the score as the reward models give it
    costs: dict[str, Tensor] = field(default_factory=dict)  # by what is constrained, [N]
    aside: dict[str, Tensor] = field(default_factory=dict)  # by metric what is told beside scores, [N]

    def beside(self, aside: Mapping[str, Tensor]) -> RewardScores:
        """The same with more that is told beside scores."""
        return replace(self, aside=self.aside | dict(aside))

    def each(self, change: Callable[[Tensor], Tensor]) -> RewardScores:
        """The same with every tensor changed."""
        return RewardScores(
            {name: change(scores) for name, scores in self.members.items()},
            {name: change(scores) for name, scores in self.components.items()},
            change(self.scores),
            {name: change(costs) for name, costs in self.costs.items()},
            {name: change(values) for name, values in self.aside.items()},
        )


@dataclass(frozen=True)
class ScoreScale:
    """Shift and scale of scores by component; one that it does not know is left as it is.

    The shift is the mean over reference samples.  The scale is their standard deviation within a prompt:
    what tells answers to one prompt apart is all that a policy can learn from, and how far prompts differ in
    their level would only make it look smaller.
    """

    means: dict[str, list[float]] = field(default_factory=dict)  # M numbers a component
    stds: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, list[float]] = field(default_factory=dict)  # standard errors of `stds`
    cost_stds: dict[str, float] = field(default_factory=dict)  # of what is constrained
    samples: int = 0
    prompts: int = 0

    @classmethod
    def of(cls, scored: RewardScores, group_N: Tensor) -> ScoreScale:
        """From reference samples; group_N says which prompt each answers."""
        means, stds, errors = {}, {}, {}
        for name, members_M_N in scored.members.items():
            means[name] = [float(mean) for mean in members_M_N.double().mean(dim=1)]
            spreads = [spread_within(row, group_N) for row in members_M_N]
            stds[name] = [_usable(spread) for spread, _ in spreads]
            errors[name] = [error for _, error in spreads]
        costs = {name: _usable(spread_within(cost_N, group_N)[0]) for name, cost_N in scored.costs.items()}
        return cls(means, stds, errors, costs, len(group_N), len(group_N.unique()))

    @classmethod
    def from_json(cls, saved: dict[str, Any], bounded: Sequence[str] = ()) -> ScoreScale:
        """What `dataclasses.asdict` gave, here or in a version that knew one constraint.

        bounded: what is constrained, which has that version's one spread.
        """
        saved = dict(saved)
        if "cost_std" in saved:
            saved["cost_stds"] = dict.fromkeys(bounded, saved.pop("cost_std"))
        return cls(**saved)

    def normalised(self, name: str, members_M_N: Tensor, *, together: bool = False) -> Tensor:
        """(score − mean) / std by the component's statistics, or as it is without any.  [M, N] → [M, N]

        together: all members by the mean of their spreads, so that what they disagree about stays.
        """
        if name not in self.means:
            return members_M_N
        mean, std = torch.tensor(self.means[name]), torch.tensor(self.stds[name])
        if together:
            std = std.mean().expand_as(std)
        return (members_M_N - mean[:, None]) / std[:, None]

    def messages(self) -> Iterator[Message]:
        """The spread of each component with its standard error; a warning where that is large."""
        for name, stds in self.stds.items():
            std, error = sum(stds) / len(stds), sum(self.errors[name]) / len(stds)
            text = (
                f"Scores of {name} are divided by their spread within a prompt, {std:.3g} ± {error:.2g} "
                f"({counted(self.samples, 'sample')} of {counted(self.prompts, 'prompt')})"
            )
            unsure = error > UNSURE * std
            if unsure:
                text += "; few prompts vary, so the scale is uncertain"
            yield Message(level="warning" if unsure else "info", text=text + ".")


def _usable(spread: float) -> float:
    return spread if spread > NO_SPREAD else 1.0
