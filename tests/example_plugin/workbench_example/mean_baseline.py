"""The algorithm: the loop of policy learning does the rest."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from engine.policy_learning.loop import learn
from engine.policy_learning.rloo import RLOO
from engine.policy_learning.rollout import Measured, Rollout, Targets, at_last_token, kl_of
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir
from workbench_example.jobs import MeanBaselineConfig


def run(config: MeanBaselineConfig, directory: RunDir) -> Iterator[Event]:
    """The job."""
    return learn(MeanBaseline(config), config, directory)  # type: ignore[arg-type]


class MeanBaseline(RLOO):
    """As RLOO, but every response of the step is the baseline."""

    def advantages(self, rollout: Rollout, measured: Measured, final_N: Tensor, beta: float) -> Targets:
        """The reward of a response minus the mean of all."""
        kl_N_T = kl_of(rollout, measured)
        rewards_N_T = at_last_token(final_N, rollout.mask) - beta * kl_N_T
        reward_N = rewards_N_T.sum(dim=1)
        advantages_N_T = torch.where(rollout.mask, (reward_N - reward_N.mean())[:, None], 0)
        return Targets(kl_N_T, rewards_N_T, advantages_N_T, returns=None)
