"""Proximal policy optimisation against a reward (Schulman et al., arXiv 1707.06347).

The policy answers input-only prompts; the reward scores the answers; the policy is moved towards better ones
while a KL penalty holds it near the policy it started from.  The loop is `policy_learning.learn`; here is
what makes it PPO:

- reward −β·(log π − log π_ref) a token, the score once at the last one; a process reward model (`process`)
  pays at the end of each step too
- a critic values every token, and generalised advantage estimation compares what came with what it expected
- the clipped policy loss, and the critic's clipped value loss

Departures from "The N implementation details of RLHF with PPO": old log-probabilities are those of the
training forward pass, not of the sampler; the critic's head is calibrated before the first step; an update
can end early by its KL to the sampling policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from engine.objectives.advantages import generalised_advantages, whiten
from engine.objectives.value import clipped_value_loss
from engine.policy_learning.loop import learn
from engine.policy_learning.models import Models
from engine.policy_learning.rollout import Measured, Rollout, Targets, at_last_token, kl_of
from engine.policy_learning.update import MicroBatch, entropy_loss, surrogate
from engine.protocol.configs import PPOConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir


def run(config: PPOConfig, directory: RunDir) -> Iterator[Event]:
    """The job; raises as `learn` does."""
    return learn(PPO(config), config, directory)


@dataclass(frozen=True)
class PPO:
    """PPO's rewards, advantages and losses."""

    config: PPOConfig

    @property
    def critic(self) -> str | None:
        """Whether the critic has a trunk of its own or shares the policy's, as configured."""
        return self.config.critic

    def advantages(self, rollout: Rollout, measured: Measured, final_N: Tensor, beta: float) -> Targets:
        """3. Rewards a token, GAE on the critic's values, whitening over response tokens."""
        assert measured.values is not None
        kl_N_T = kl_of(rollout, measured)
        rewards_N_T = at_last_token(final_N, rollout.mask) - beta * kl_N_T
        if measured.step_rewards is not None:
            rewards_N_T = rewards_N_T + measured.step_rewards
        advantages_N_T, returns_N_T = generalised_advantages(
            rewards_N_T, measured.values, rollout.mask, gamma=self.config.gamma, lam=self.config.lam
        )
        if self.config.whiten_advantages:
            advantages_N_T = whiten(advantages_N_T, rollout.mask)
        return Targets(kl_N_T, rewards_N_T, advantages_N_T, returns_N_T)

    def backward(self, models: Models, batch: MicroBatch) -> Tensor:
        """4. Clipped policy loss and clipped value loss, each a mean over the minibatch's tokens."""
        assert models.critic is not None
        assert batch.old_values is not None
        assert batch.returns is not None
        tokens = batch.sums.tokens
        outputs = models.policy.forward(batch.rows, entropy=self.config.entropy_bonus > 0)
        policy = surrogate(self.config, batch, outputs.logprobs, tokens)
        loss = policy.loss + entropy_loss(self.config, batch, outputs.entropy)
        if models.critic.trunk is not None:  # the policy's graph goes before the critic's comes
            loss.backward()
            loss = loss.detach()
        value = clipped_value_loss(
            models.critic.values(batch.rows, outputs), batch.old_values, batch.returns, batch.mask,
            clip=self.config.clip_value, total_tokens=tokens,
        )  # fmt: skip
        batch.sums.value_loss += float(value.loss.detach())
        (loss + self.config.value_coefficient * value.loss).backward()
        return outputs.logprobs
