"""Online DPO: sample, compare, learn from the comparison, again (Guo et al., arXiv 2402.04792).

The loop is `policy_learning.learn`; here is what makes it online DPO:

- the K samples of a prompt are compared by the reward, by a general preference of pairs (`preferences`), or
  by people who rank them (`people`); their pairs are all that differ, or the best against the worst
- the loss is DPO's or IPO's on these pairs, a prompt's its mean over its pairs, or SPPO's on each response
- the log-ratio is to the policy that sampled (`reference` round: direct Nash optimisation and iterative DPO,
  Rosset et al., arXiv 2404.03715, algorithm 2), or to the policy before its first step (`reference` start)
- every `policy_every` steps the policy is kept, so that a step with many prompts and epochs is a round

SPPO (Wu et al., arXiv 2405.00675, eq. 4.7) is a regression: (log π/π_t − η(P(y ≻ π_t) − ½))², η = 1/β and P
the mean of σ(s − s′), or of the preference, over the other samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.objectives.direct import direct_preference
from engine.objectives.policy import PolicyLoss
from engine.objectives.preference import win_probabilities
from engine.policy_learning.loop import learn
from engine.policy_learning.models import Models
from engine.policy_learning.rollout import Measured, Rollout, Targets, at_last_token, kl_of
from engine.policy_learning.update import MicroBatch
from engine.protocol.configs import OnlineDPOConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir


def run(config: OnlineDPOConfig, directory: RunDir) -> Iterator[Event]:
    """The job; raises as `learn` does."""
    return learn(OnlineDPO(config), config, directory)


@dataclass(frozen=True)
class OnlineDPO:
    """Online DPO's pairs and loss."""

    config: OnlineDPOConfig

    @property
    def critic(self) -> str | None:
        """None: pairs of samples are compared with each other."""
        return None

    def advantages(self, rollout: Rollout, measured: Measured, final_N: Tensor, beta: float) -> Targets:
        """3. Pairs of samples; of SPPO how likely each wins, less one half, in the place of an advantage."""
        groups_N, best_worst = rollout.groups, self.config.pairs == "best_worst"
        won_N = (win_probabilities(final_N, groups_N) if measured.wins is None else final_N) - 0.5
        pairs = pairs_of(final_N, groups_N, best_worst=best_worst)
        if measured.wins is not None and not best_worst:  # which may run in a circle
            pairs = torch.nonzero(measured.wins > 0.5)
        return Targets(
            kl=kl_of(rollout, measured),
            rewards=at_last_token(final_N, rollout.mask),
            advantages=torch.where(rollout.mask, won_N[:, None], 0),
            returns=None,
            pairs=pairs,
        )

    def backward(self, models: Models, batch: MicroBatch) -> Tensor:
        """4. The loss of whole prompts: all samples of one are in the micro-batch."""
        config = self.config
        logprobs = models.policy.forward(batch.rows).logprobs
        other = batch.old_logprobs if config.reference == "round" else batch.ref_logprobs
        ratio_n = torch.where(batch.mask, logprobs - other, 0).sum(dim=1)
        if config.loss == "sppo":
            loss = (ratio_n - batch.advantages[:, 0] / config.beta).square().sum() / batch.sums.responses
        else:
            loss = self._of_pairs(ratio_n, batch)
        batch.sums.add(policy_sums(loss, logprobs, batch))
        loss.backward()
        return logprobs

    def _of_pairs(self, ratio_n: Tensor, batch: MicroBatch) -> Tensor:
        """Mean over the minibatch's prompts of the mean over each one's pairs."""
        config, prompts = self.config, batch.sums.responses / self.config.samples
        assert batch.pairs is not None
        winner_M, loser_M, share_M = batch.pairs
        if not len(winner_M):
            return ratio_n.sum() * 0.0  # nothing differs: a gradient of 0
        loss_M = direct_preference(
            ratio_n[winner_M], ratio_n[loser_M],
            beta=config.beta, loss="ipo" if config.loss == "ipo" else "sigmoid",
        )  # fmt: skip
        return (loss_M * share_M).sum() / prompts


def pairs_of(final_N: Tensor, group_N: Tensor, *, best_worst: bool) -> Tensor:
    """Winner and loser of every pair of a prompt's samples that score apart, [M, 2] int64; or of each prompt
    the first of its best against the first of its worst.
    """
    if not best_worst:
        better = (final_N[:, None] > final_N[None, :]) & (group_N[:, None] == group_N[None, :])
        return torch.nonzero(better)
    pairs = []
    for group in group_N.unique():
        members = torch.nonzero(group_N == group)[:, 0]
        best, worst = members[final_N[members].argmax()], members[final_N[members].argmin()]
        if final_N[best] > final_N[worst]:
            pairs.append([int(best), int(worst)])
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2)


@torch.no_grad()
def _sums_of(logprobs: Tensor, batch: MicroBatch) -> tuple[Tensor, Tensor, Tensor]:
    log_ratio = torch.where(batch.mask, logprobs - batch.old_logprobs, 0)
    ratio = log_ratio.exp()
    return (
        torch.where(batch.mask, ratio, 0).sum(),
        torch.where(batch.mask, (ratio - 1).abs(), 0).max(),
        torch.where(batch.mask, torch.expm1(log_ratio) - log_ratio, 0).sum(),
    )


def policy_sums(loss: Tensor, logprobs: Tensor, batch: MicroBatch) -> PolicyLoss:
    """A loss with what the record tells of how far the policy has moved from the one that sampled."""
    ratio, deviation, kl = _sums_of(logprobs, batch)
    return PolicyLoss(loss, torch.zeros_like(ratio), ratio, deviation, kl)
