"""Nash-MD: be preferred to a mixture of oneself and the reference (Munos et al., arXiv 2312.00886).

The loop is `policy_learning.learn`; here is what makes it Nash-MD:

- each sample of the policy meets as many opponents, sampled from the geometric mixture π^(1−m) π_ref^m of
  policy and reference, token by token (`opponents`, `engine.rollout.mixture`)
- its reward is how likely it is preferred to them, by a general preference or by σ of the difference in
  reward
- the loss is REINFORCE of (P − ½) − β·log π/π_ref on the response (`objectives.nash`)

With m = 0 it is self-play, whose fixed point is the Nash equilibrium of the regularised preference game: no
policy is preferred to it, less β times its KL.  That exists also where the preference runs in circles and no
score can express it.  A mixture keeps steps from running in circles themselves; with m = 1 the policy is the
best response to the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.objectives.nash import nash_md
from engine.policy_learning.loop import learn
from engine.policy_learning.models import Models
from engine.policy_learning.online_dpo import policy_sums
from engine.policy_learning.rollout import Measured, Rollout, Targets, at_last_token, kl_of
from engine.policy_learning.update import MicroBatch
from engine.protocol.configs import NashMDConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir


def run(config: NashMDConfig, directory: RunDir) -> Iterator[Event]:
    """The job; raises as `learn` does."""
    return learn(NashMD(config), config, directory)


@dataclass(frozen=True)
class NashMD:
    """Nash-MD's wins and loss."""

    config: NashMDConfig

    @property
    def critic(self) -> str | None:
        """None: ½ is the baseline, which a preference has in the mean."""
        return None

    def advantages(self, rollout: Rollout, measured: Measured, final_N: Tensor, beta: float) -> Targets:
        """3. How likely each response wins, less one half."""
        return Targets(
            kl=kl_of(rollout, measured),
            rewards=at_last_token(final_N, rollout.mask),
            advantages=torch.where(rollout.mask, final_N[:, None] - 0.5, 0),
            returns=None,
        )

    def backward(self, models: Models, batch: MicroBatch) -> Tensor:
        """4. A mean over the minibatch's responses."""
        config = self.config
        logprobs = models.policy.forward(batch.rows).logprobs
        loss_n = nash_md(
            logprobs, batch.ref_logprobs, batch.mask, batch.advantages[:, 0] + 0.5,
            beta=config.beta, kl=config.kl_loss,
        )  # fmt: skip
        loss = loss_n.sum() / batch.sums.responses
        batch.sums.add(policy_sums(loss, logprobs, batch))
        loss.backward()
        return logprobs
