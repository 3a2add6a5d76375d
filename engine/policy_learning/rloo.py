"""REINFORCE with a leave-one-out baseline (Ahmadian et al., arXiv 2402.14740): no critic, no whitening.

The loop is `policy_learning.learn`; here is what makes it RLOO:

- the whole response is one action, whose reward is its score minus β times its KL to the reference
- its baseline is the mean reward of the other samples of its prompt, which does not depend on it
- every token of a response has the response's advantage; the loss is a mean over responses of sums over
  tokens, so on the first pass its gradient is that of REINFORCE

Departure from the paper: passes after the first, if asked for, clip the ratio of each token as PPO does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.objectives.groups import leave_one_out
from engine.policy_learning.loop import learn
from engine.policy_learning.models import Models
from engine.policy_learning.rollout import Measured, Rollout, Targets, at_last_token, kl_of
from engine.policy_learning.update import MicroBatch, entropy_loss, surrogate
from engine.protocol.configs import RLOOConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir


def run(config: RLOOConfig, directory: RunDir) -> Iterator[Event]:
    """The job; raises as `learn` does."""
    return learn(RLOO(config), config, directory)


@dataclass(frozen=True)
class RLOO:
    """RLOO's advantages and loss."""

    config: RLOOConfig

    @property
    def critic(self) -> str | None:
        """None: the other samples of the prompt are the baseline."""
        return None

    def advantages(self, rollout: Rollout, measured: Measured, final_N: Tensor, beta: float) -> Targets:
        """3. Reward of the whole response minus that of the others."""
        kl_N_T = kl_of(rollout, measured)
        rewards_N_T = at_last_token(final_N, rollout.mask) - beta * kl_N_T
        advantages_N = leave_one_out(rewards_N_T.sum(dim=1), rollout.groups)
        advantages_N_T = torch.where(rollout.mask, advantages_N[:, None], 0)
        return Targets(kl_N_T, rewards_N_T, advantages_N_T, returns=None)

    def backward(self, models: Models, batch: MicroBatch) -> Tensor:
        """4. Clipped policy loss: sums over tokens, a mean over the minibatch's responses."""
        outputs = models.policy.forward(batch.rows, entropy=self.config.entropy_bonus > 0)
        policy = surrogate(self.config, batch, outputs.logprobs, batch.sums.responses)
        (policy.loss + entropy_loss(self.config, batch, outputs.entropy)).backward()
        return outputs.logprobs
