"""Group-relative policy optimisation (DeepSeekMath, arXiv 2402.03300): PPO's loss without a critic.

The loop is `policy_learning.learn`; here is what makes it GRPO:

- the advantage of every token of a response is its score compared with those of the other samples of its
  prompt, divided by their standard deviation (`scale_advantages`)
- the clipped policy loss, averaged over the tokens of each response, then over responses (`loss_average`)
- the KL to the reference is a term of the loss, not of the reward

With `process_reward` each token also has what the steps from its own on earn, compared with the steps of the
other samples (§4.1.3).

Settings make it others:

- GSPO (arXiv 2507.18071): `ratio` sequence; CISPO (arXiv 2506.13585): `surrogate` cispo, `loss_average` token
- DAPO (arXiv 2503.14476): `clip_high`, `loss_average` token, `resample`, `overlong_tokens`, `beta` 0
- REINFORCE++ with a baseline (arXiv 2501.03262): `scale_of` batch, `loss_average` token

Dr. GRPO (arXiv 2503.20783) is `scale_advantages` no with `loss_average` budget: it takes away the weights
that the two divisions give to easy prompts and to short answers.

Departure from the paper: the KL term is k2 unless asked otherwise.  The paper's k3 is a good estimate of the
KL, but differentiated as a loss it gives the gradient of KL(π_ref ‖ π) (`engine.objectives.kl`).  k2 has
the gradient of each token's KL, not of what a token does to those behind it; `kl_loss` sequence has all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.objectives.groups import group_advantages, leave_one_out, token_divisor
from engine.objectives.kl import k2, k3, sequence_k1
from engine.objectives.steps import step_advantages
from engine.policy_learning.loop import learn
from engine.policy_learning.models import Models
from engine.policy_learning.rollout import Measured, Rollout, Targets, at_last_token, kl_of
from engine.policy_learning.update import MicroBatch, entropy_loss, surrogate
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
        """None: the other samples of the prompt are the baseline."""
        return None

    def advantages(self, rollout: Rollout, measured: Measured, final_N: Tensor, beta: float) -> Targets:
        """3. One advantage a response, the same for each of its tokens."""
        config, groups = self.config, rollout.groups
        base_N = leave_one_out(final_N, groups) if config.baseline == "others" else final_N
        # the mean of a group's leave-one-out advantages is 0: centring them again changes nothing
        advantages_N = group_advantages(base_N, groups, scale=config.scale_advantages, of=config.scale_of)
        rewards_N_T = at_last_token(final_N, rollout.mask)
        advantages_N_T = torch.where(rollout.mask, advantages_N[:, None], 0)
        if (steps_N_T := measured.step_rewards) is not None:
            rewards_N_T = rewards_N_T + steps_N_T
            advantages_N_T = advantages_N_T + step_advantages(
                steps_N_T, rollout.mask, groups, scale=config.scale_advantages
            )
        return Targets(
            kl=kl_of(rollout, measured),
            rewards=rewards_N_T,
            advantages=advantages_N_T,
            returns=None,
        )

    def backward(self, models: Models, batch: MicroBatch) -> Tensor:
        """4. Clipped policy loss plus β·KL, both averaged as `loss_average` says."""
        config, sums = self.config, batch.sums
        outputs = models.policy.forward(batch.rows, entropy=config.entropy_bonus > 0)
        logprobs = outputs.logprobs
        divisor = token_divisor(
            batch.mask, config.loss_average, config.max_new_tokens, sums.tokens, sums.responses
        )
        policy = surrogate(config, batch, logprobs, divisor, config.ratio)
        if config.kl_loss == "sequence":
            kl_N_T = sequence_k1(logprobs, batch.ref_logprobs, batch.mask)
        else:
            estimate = k2 if config.kl_loss == "k2" else k3
            kl_N_T = torch.where(batch.mask, estimate(logprobs, batch.ref_logprobs), 0)
        kl = batch.beta * (kl_N_T / divisor).sum()
        sums.kl_loss = (sums.kl_loss or 0.0) + float(kl.detach())
        (policy.loss + kl + entropy_loss(config, batch, outputs.entropy)).backward()
        return logprobs
