"""Opponents of a policy's samples: samples of a mixture of the policy and its reference, for Nash-MD."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import torch
from torch import Tensor

from engine.policy_learning.models import Models
from engine.policy_learning.preferences import Wins, compared
from engine.policy_learning.rollout import Measured, Rollout, as_rollout, collect, measure
from engine.protocol.configs import PolicyLearningConfig
from engine.protocol.events import Event
from engine.rollout import Mixture

Worth = Callable[[Rollout, Measured], Tensor]
"""What is maximised of each response, [N]."""


def against_mixture(
    models: Models,
    rollout: Rollout,
    final_N: Tensor,
    worth: Worth,
    config: PolicyLearningConfig,
    *key: object,
) -> Generator[Event, None, tuple[Tensor, dict[str, Tensor]]]:
    """How likely each response of the rollout is preferred to as many opponents of its prompt, [N]: a mean.
    Then what is told of it by metric, [N].

    By the preference of the configuration, or by σ of the difference in what is maximised.
    """
    share = config.mixture()
    assert share is not None
    reference = None if models.policy.frozen is None else models.policy.frozen[0]
    opponents = yield from collect(
        models, rollout.prompts, config, "opponents", *key,
        stage="sampling opponents", mixture=Mixture(models.policy.model, reference, share),
    )  # fmt: skip
    if config.preferred_by():
        said = yield from _preferred(models, rollout, opponents)
    else:
        measured = yield from measure(models, opponents)
        said = Wins(torch.sigmoid(final_N[:, None] - worth(opponents, measured)[None, :]))
    same_N_M = rollout.groups[:, None] == opponents.groups[None, :]
    wins_N = torch.where(same_N_M, said.wins, 0).sum(dim=1) / same_N_M.sum(dim=1)
    return wins_N, said.aside


def _preferred(models: Models, rollout: Rollout, opponents: Rollout) -> Generator[Event, None, Wins]:
    """P(row ≻ column) of samples against opponents of their prompt, [N, M]."""
    count = len(rollout.sampled)
    moved = [replace(one, sample_index=one.sample_index + count) for one in opponents.sampled]
    everything = as_rollout(models, rollout.prompts, [*rollout.sampled, *moved])
    said = yield from compared(everything, models.rewards, models.policy.tokeniser, first=count)
    return Wins(said.wins[:count, count:], {name: values_N[:count] for name, values_N in said.aside.items()})
