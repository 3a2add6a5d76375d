"""Opponents of a policy's samples: samples of a mixture of the policy and its reference, for Nash-MD."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import torch
from torch import Tensor

from engine.policy_learning.models import Models
from engine.policy_learning.preferences import compared
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
) -> Generator[Event, None, Tensor]:
    """How likely each response of the rollout is preferred to as many opponents of its prompt, [N]: a mean.

    By the preference of the configuration, or by σ of the difference in what is maximised.
    """
    share = config.mixture()
    assert share is not None
    reference = None if models.policy.frozen is None else models.policy.frozen[0]
    opponents = yield from collect(
        models, rollout.prompts, config, "opponents", *key,
        stage="sampling opponents", mixture=Mixture(models.policy.model, reference, share),
    )  # fmt: skip
    preference = config.preferred_by()
    if preference:
        wins_N_M = _preferred(models, rollout, opponents, preference)
    else:
        measured = yield from measure(models, opponents)
        wins_N_M = torch.sigmoid(final_N[:, None] - worth(opponents, measured)[None, :])
    same_N_M = rollout.groups[:, None] == opponents.groups[None, :]
    return torch.where(same_N_M, wins_N_M, 0).sum(dim=1) / same_N_M.sum(dim=1)


def _preferred(models: Models, rollout: Rollout, opponents: Rollout, preference: str) -> Tensor:
    """P(row ≻ column) of samples against opponents of their prompt, [N, M]."""
    count = len(rollout.sampled)
    moved = [replace(one, sample_index=one.sample_index + count) for one in opponents.sampled]
    everything = as_rollout(models, rollout.prompts, [*rollout.sampled, *moved])
    wins = compared(everything, preference, models.policy.tokeniser, models.rewards.pairwise)
    return wins[:count, count:]
