"""Group-relative policy optimisation (DeepSeekMath, arXiv 2402.03300): PPO's loss without a critic.

The loop is `policy_learning.learn`; here is what makes it GRPO:

- the advantage of every token of a response is its score compared with those of the other samples of its
  prompt, divided by their standard deviation (`scale_advantages`)
- the clipped policy loss, averaged over the tokens of each response, then over responses (`loss_average`)
- the KL to the reference is a term of the loss, not of the reward

Dr. GRPO (arXiv 2503.20783) is `scale_advantages` no with `loss_average` budget: it takes away the weights
that the two divisions give to easy prompts and to short answers.

Departure from the paper: the KL term is k2 unless asked otherwise.  The paper's k3 is a good estimate of the
KL, but differentiated as a loss it gives the gradient of KL(π_ref ‖ π) (`engine.objectives.kl`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.objectives.groups import group_advantages, token_divisor
from engine.objectives.kl import k2, k3
from engine.objectives.policy import clipped_surrogate
from engine.policy_learning.loop import learn
from engine.policy_learning.models import Models
from engine.policy_learning.rollout import Measured, Rollout, Targets, at_last_token, kl_of
from engine.policy_learning.update import MicroBatch
from engine.protocol.configs import GRPOConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir


def run(config: GRPOConfig, directory: RunDir) -> Iterator[Event]:
    """The job; raises as `learn` does."""
    return learn(GRPO(config), config, directory)


@dataclass(frozen=True)
class GRPO:
    """GRPO's advantages and loss."""

    config: GRPOConfig

    @property
    def critic(self) -> str | None:
        return None

    def advantages(self, rollout: Rollout, measured: Measured, final_N: Tensor, beta: float) -> Targets:
        """3. One advantage a response, the same for each of its tokens."""
        advantages_N = group_advantages(final_N, rollout.groups, scale=self.config.scale_advantages)
        return Targets(
            kl=kl_of(rollout, measured),
            rewards=at_last_token(final_N, rollout.mask),
            advantages=torch.where(rollout.mask, advantages_N[:, None], 0),
            returns=None,
        )

    def backward(self, models: Models, batch: MicroBatch) -> Tensor:
        """4. Clipped policy loss plus β·KL, both averaged as `loss_average` says."""
        config, sums = self.config, batch.sums
        logprobs = models.policy.forward(batch.rows).logprobs
        divisor = token_divisor(
            batch.mask, config.loss_average, config.max_new_tokens, sums.tokens, sums.responses
        )
        policy = clipped_surrogate(
            logprobs, batch.old_logprobs, batch.advantages, batch.mask,
            clip=config.clip, total_tokens=divisor,
        )  # fmt: skip
        sums.add(policy)
        estimate = k2 if config.kl_loss == "k2" else k3
        kl_N_T = torch.where(batch.mask, estimate(logprobs, batch.ref_logprobs), 0)
        kl = batch.beta * (kl_N_T / divisor).sum()
        sums.kl_loss = (sums.kl_loss or 0.0) + float(kl.detach())
        (policy.loss + kl).backward()
        return logprobs
