"""Phase 4 of a step of policy learning: some epochs of an algorithm's losses on one rollout."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from engine.errors import NonFiniteError
from engine.models.operations import Work
from engine.models.packing import Row
from engine.objectives.policy import PolicyLoss, clipped_surrogate, truncated_reinforce
from engine.policy_learning.models import Models
from engine.policy_learning.rollout import Measured, Rollout, Targets
from engine.protocol.configs import PolicyLearningConfig
from engine.protocol.events import Event, Progress
from engine.training.checkpoint import seeded
from engine.training.guards import retry_on_out_of_memory
from engine.training.optimiser import annealed
from engine.training.ranks import Ranks, current


@dataclass
class Sums:
    """Sums over the tokens of one minibatch; losses are those of the whole minibatch."""

    tokens: int
    responses: int
    policy_loss: float = 0.0
    value_loss: float = 0.0
    entropy_loss: float = 0.0
    kl_loss: float | None = None  # of algorithms that have the KL in the loss
    clipped: float = 0.0
    ratio: float = 0.0
    kl: float = 0.0
    deviation: float = 0.0
    work: Work = field(default_factory=Work)  # of this rank

    def add(self, loss: PolicyLoss) -> None:
        """Takes the policy's loss of a micro-batch."""
        self.policy_loss += float(loss.loss.detach())
        self.clipped += float(loss.clipped)
        self.ratio += float(loss.ratio_sum)
        self.kl += float(loss.kl_sum)
        self.deviation = max(self.deviation, float(loss.ratio_max_deviation))

    def add_ranks(self, ranks: Ranks) -> None:
        """What the other ranks have taken of the same minibatch."""
        values = [self.policy_loss, self.value_loss, self.entropy_loss, self.clipped, self.ratio, self.kl]
        with_kl = [self.kl_loss or 0.0, float(self.kl_loss is not None)]
        largest = [self.deviation if rank == ranks.rank else 0.0 for rank in range(ranks.world)]
        sums = torch.tensor([*values, *with_kl, *largest], dtype=torch.float64)
        ranks.add(sums)
        self.policy_loss, self.value_loss, self.entropy_loss = sums[:3].tolist()
        self.clipped, self.ratio, self.kl = sums[3:6].tolist()
        self.kl_loss = float(sums[6]) if sums[7] else None
        self.deviation = float(sums[8:].max())

    @property
    def total_loss(self) -> float:
        """What was minimised: policy, value, entropy and KL together."""
        return self.policy_loss + self.value_loss + self.entropy_loss + (self.kl_loss or 0.0)


@dataclass(frozen=True)
class MicroBatch:
    """Some responses of a minibatch, with what the losses compare the models to; [n, t] on their device."""

    rows: list[Row]
    old_logprobs: Tensor
    ref_logprobs: Tensor
    advantages: Tensor
    mask: Tensor
    old_values: Tensor | None
    returns: Tensor | None
    beta: float
    sums: Sums  # of the whole minibatch, added to as the losses are taken
    pairs: tuple[Tensor, Tensor, Tensor] | None = None  # winner, loser [M] within it; 1/pairs of the prompt


def surrogate(
    config: PolicyLearningConfig,
    batch: MicroBatch,
    logprobs_n_t: Tensor,
    divisor: int | Tensor,
    ratio_of: Literal["token", "sequence"] = "token",
) -> PolicyLoss:
    """The policy's loss as the configuration wants it; `batch.sums` takes it in."""
    seen = (logprobs_n_t, batch.old_logprobs, batch.advantages, batch.mask)
    if config.surrogate == "cispo":
        bound = config.clip_high or config.clip
        loss = truncated_reinforce(*seen, clip=bound, total_tokens=divisor)
    else:
        loss = clipped_surrogate(
            *seen,
            clip=config.clip,
            clip_high=config.clip_high,
            ratio_of=ratio_of,
            total_tokens=divisor,
        )
    batch.sums.add(loss)
    return loss


def entropy_loss(config: PolicyLearningConfig, batch: MicroBatch, entropy_n_t: Tensor) -> Tensor:
    """−c·mean entropy a token of the minibatch, a scalar; 0 without a bonus."""
    if not config.entropy_bonus:
        return entropy_n_t.new_zeros(())
    loss = -config.entropy_bonus * torch.where(batch.mask, entropy_n_t, 0).sum() / batch.sums.tokens
    batch.sums.entropy_loss += float(loss.detach())
    return loss


class PolicyLosses(Protocol):
    """What an algorithm does in the update.

    One whose targets have pairs is given whole prompts, all samples of each.
    """

    def backward(self, models: Models, batch: MicroBatch) -> Tensor:
        """Take the losses of a micro-batch, add their gradients, and return the log-probabilities [n, t].

        Losses are divided by the tokens or responses of the whole minibatch (`batch.sums`), so the cut into
        micro-batches is no matter.
        """
        ...


@dataclass
class UpdateStats:
    """What the update did; averages are over minibatches, weighted by tokens."""

    ratio: Tensor  # [N, T] the ratio that the loss saw last of each token
    minibatches: list[Sums] = field(default_factory=list)
    grad_norms: dict[str, list[float]] = field(default_factory=dict)  # by optimiser
    stopped_early: bool = False

    @property
    def work(self) -> Work:
        """What went through the models on this rank."""
        return sum((minibatch.work for minibatch in self.minibatches), Work())

    def mean(self, name: str) -> float:
        """Per-token mean of a sum over all minibatches."""
        return sum(getattr(m, name) for m in self.minibatches) / sum(m.tokens for m in self.minibatches)


class BrokenUpdateError(NonFiniteError):
    """The loss or its gradient is not finite; the caller keeps the batch and says so."""


@dataclass(frozen=True)
class Update:
    """Everything that the update of one step reads."""

    losses: PolicyLosses
    models: Models
    rollout: Rollout
    measured: Measured
    targets: Targets
    beta: float
    config: PolicyLearningConfig
    step: int  # from 0
    used: Sequence[int] | None = None  # the responses that are learned from; None: all

    def run(self) -> Generator[Event, None, UpdateStats]:
        """`epochs` passes over the rollout, each in a fresh order.

        The update ends early, before the step that would be taken, once the mean KL a token to the sampling
        policy exceeds `target_kl_update`.  Raises BrokenUpdateError.
        """
        if self.models.remote is not None:
            return (yield from self.models.remote.update(self))
        config, optimisers = self.config, self.models.optimisers
        stats = UpdateStats(torch.ones(self.rollout.mask.shape), grad_norms={name: [] for name in optimisers})
        seen, total = 0, config.epochs * len(self.used or self.rollout.sampled)
        for epoch in range(config.epochs):
            for chosen in minibatches(self.rollout, config, self.step, epoch, self.used):
                sums = yield from self._minibatch(chosen, stats, seen, total)
                seen += len(chosen)
                stats.minibatches.append(sums)
                if not math.isfinite(sums.total_loss):
                    raise BrokenUpdateError(f"policy loss {sums.policy_loss}, value loss {sums.value_loss}")
                if config.target_kl_update and sums.kl / sums.tokens > config.target_kl_update:
                    self._zero_grad()
                    stats.stopped_early = True
                    return stats
                self._step(stats)
        return stats

    def _minibatch(
        self, chosen: list[int], stats: UpdateStats, seen: int, total: int
    ) -> Generator[Event, None, Sums]:
        """The gradients of one minibatch, in as many micro-batches as memory asks for; ranks share it."""
        ranks = current()
        mine = self.rollout.shared(chosen, ranks)

        def attempt(sequences: int) -> Generator[Event, None, Sums]:
            self._zero_grad()  # what an attempt left that ran out of memory
            sums, done = Sums(tokens=int(self.rollout.mask[chosen].sum()), responses=len(chosen)), seen
            if self.targets.pairs is not None:  # a prompt is not cut
                samples = self.config.samples
                sequences = max(1, sequences // samples) * samples
            parts = self.rollout.micro_batches(mine, sequences)
            for rows, order in ranks.in_step(parts, self._idle, self.models.policy.trunk.module):
                batch = self._cut(rows, order, sums)
                sums.work += Work.of(rows)
                logprobs_n_t = self.losses.backward(self.models, batch).detach()
                self._accumulate()
                ratio_n_t = (logprobs_n_t - batch.old_logprobs).exp()
                stats.ratio[order, : ratio_n_t.shape[1]] = torch.where(batch.mask, ratio_n_t, 1).cpu()
                done += len(order)
                yield Progress(stage="updating", done=done, total=total, unit="responses")
            return sums

        sums = yield from retry_on_out_of_memory(self.models.microbatches["training"], attempt)
        if ranks.world > 1:
            sums.add_ranks(ranks)
            ranks.add_gradients(self.models.optimisers.values())
            own = set(mine)
            own_n_1 = torch.tensor([[float(n in own)] for n in chosen])
            apart_n_T = (stats.ratio[chosen] - 1) * own_n_1
            ranks.add(apart_n_T)
            stats.ratio[chosen] = 1 + apart_n_T
        return sums

    def _accumulate(self) -> None:
        for optimiser in self.models.optimisers.values():
            optimiser.accumulate()

    def _idle(self) -> None:
        self.models.idle(learning=True)
        self._accumulate()

    def _cut(self, rows: list[Row], order: list[int], sums: Sums) -> MicroBatch:
        """What belongs to these responses, as wide as the longest of them."""
        width, device = int(self.rollout.mask[order].sum(dim=1).max()), self.models.device

        def part(whole: Tensor) -> Tensor:
            return whole[order, :width].to(device)

        values, returns = self.measured.values, self.targets.returns
        return MicroBatch(
            rows=rows,
            old_logprobs=part(self.measured.logprobs),
            ref_logprobs=part(self.measured.ref_logprobs),
            advantages=part(self.targets.advantages),
            mask=part(self.rollout.mask),
            old_values=None if values is None else part(values),
            returns=None if returns is None else part(returns),
            beta=self.beta,
            sums=sums,
            pairs=self._pairs(order),
        )

    def _pairs(self, order: list[int]) -> tuple[Tensor, Tensor, Tensor] | None:
        """The pairs of these responses by their places here."""
        if self.targets.pairs is None:
            return None
        place = {n: i for i, n in enumerate(order)}
        places = [
            (place[w], place[lo]) for w, lo in self.targets.pairs.tolist() if w in place and lo in place
        ]
        prompts = [self.rollout.sampled[order[w]].prompt_index for w, _ in places]
        pairs = torch.tensor(places, dtype=torch.long, device=self.models.device).reshape(-1, 2)
        share = torch.tensor([1 / prompts.count(p) for p in prompts], device=self.models.device)
        return pairs[:, 0], pairs[:, 1], share

    def _zero_grad(self) -> None:
        for optimiser in self.models.optimisers.values():
            optimiser.zero_grad()

    def _step(self, stats: UpdateStats) -> None:
        """Clip, check and take one step of every optimiser."""
        norms = {
            name: optimiser.clip(self.config.max_grad_norm)
            for name, optimiser in self.models.optimisers.items()
        }
        if not all(math.isfinite(norm) for norm in norms.values()):
            norms_text = ", ".join(f"{name} {norm}" for name, norm in norms.items())
            raise BrokenUpdateError(f"gradient norm of {norms_text}")
        for name, optimiser in self.models.optimisers.items():
            optimiser.step(annealed(self.step, self.config.steps, self.models.peaks[name]))
            stats.grad_norms[name].append(norms[name])


def minibatches(
    rollout: Rollout, config: PolicyLearningConfig, step: int, epoch: int, used: Sequence[int] | None = None
) -> list[list[int]]:
    """Indices of responses of each minibatch: prompts in a fresh order, and the samples of each.

    used: the responses that are learned from; None is all.
    Samples of a prompt stay together as far as the cut allows, so that they share its forward pass.
    """
    used = range(len(rollout.sampled)) if used is None else used
    generator = seeded("minibatches", config.seed, step, epoch)
    order: list[int] = []
    for prompt in torch.randperm(len(rollout.prompts), generator=generator).tolist():
        samples = [n for n in used if rollout.sampled[n].prompt_index == prompt]
        order += [samples[i] for i in torch.randperm(len(samples), generator=generator).tolist()]
    count = min(config.minibatches, len(order))
    bounds = [round(i * len(order) / count) for i in range(count + 1)]
    return [order[start:end] for start, end in itertools.pairwise(bounds)]
