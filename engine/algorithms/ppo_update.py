"""Phase 4 of a PPO step: several epochs of clipped policy and value losses on one rollout."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.algorithms.checkpoint import seeded
from engine.algorithms.optimiser import annealed
from engine.algorithms.ppo_models import Models
from engine.algorithms.ppo_rollout import Measured, Rollout, Targets
from engine.errors import NonFiniteError
from engine.models.packing import Row
from engine.objectives.policy import clipped_surrogate
from engine.objectives.value import clipped_value_loss
from engine.protocol.configs import PPOConfig
from engine.protocol.events import Progress


@dataclass
class Sums:
    """Sums over the tokens of one minibatch."""

    tokens: int
    policy_loss: float = 0.0
    value_loss: float = 0.0
    clipped: float = 0.0
    ratio: float = 0.0
    kl: float = 0.0
    deviation: float = 0.0


@dataclass
class UpdateStats:
    """What the update did; averages are over minibatches, weighted by tokens."""

    ratio: Tensor  # [N, T] the ratio that the loss saw last of each token
    minibatches: list[Sums] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    critic_grad_norms: list[float] = field(default_factory=list)
    stopped_early: bool = False

    def mean(self, name: str) -> float:
        """Per-token mean of a sum over all minibatches."""
        return sum(getattr(m, name) for m in self.minibatches) / sum(m.tokens for m in self.minibatches)


class BrokenUpdateError(NonFiniteError):
    """The loss or its gradient is not finite; the caller keeps the batch and says so."""


def update(
    models: Models, rollout: Rollout, measured: Measured, targets: Targets, config: PPOConfig, step: int
) -> Generator[Progress, None, UpdateStats]:
    """4. `epochs` passes over the rollout, each in a fresh order; `step` counts from 0.

    The update ends early, before the step that would be taken, once the mean KL a token to the sampling
    policy exceeds `target_kl_update`.  Raises BrokenUpdateError.
    """
    stats = UpdateStats(torch.ones(rollout.mask.shape))
    seen, total = 0, config.epochs * len(rollout.sampled)
    for epoch in range(config.epochs):
        for chosen in minibatches(rollout, config, step, epoch):
            sums = Sums(tokens=int(rollout.mask[chosen].sum()))
            for rows, order in rollout.micro_batches(chosen, config.microbatch):
                accumulate(models, rows, order, rollout, measured, targets, config, sums, stats.ratio)
                seen += len(order)
                yield Progress(stage="updating", done=seen, total=total, unit="responses")
            stats.minibatches.append(sums)
            if not math.isfinite(sums.policy_loss + sums.value_loss):
                raise BrokenUpdateError(f"policy loss {sums.policy_loss}, value loss {sums.value_loss}")
            if config.target_kl_update and sums.kl / sums.tokens > config.target_kl_update:
                for optimiser in models.optimisers.values():
                    optimiser.forget()
                stats.stopped_early = True
                return stats
            _step(models, stats, config, step)
    return stats


def minibatches(rollout: Rollout, config: PPOConfig, step: int, epoch: int) -> list[list[int]]:
    """Indices of responses of each minibatch: prompts in a fresh order, and the samples of each.

    Samples of a prompt stay together as far as the cut allows, so that they share its forward pass.
    """
    generator = seeded("minibatches", config.seed, step, epoch)
    order: list[int] = []
    for prompt in torch.randperm(len(rollout.prompts), generator=generator).tolist():
        samples = [n for n, response in enumerate(rollout.sampled) if response.prompt_index == prompt]
        order += [samples[i] for i in torch.randperm(len(samples), generator=generator).tolist()]
    count = min(config.minibatches, len(order))
    bounds = [round(i * len(order) / count) for i in range(count + 1)]
    return [order[start:end] for start, end in itertools.pairwise(bounds)]


def accumulate(
    models: Models,
    rows: list[Row],
    order: list[int],
    rollout: Rollout,
    measured: Measured,
    targets: Targets,
    config: PPOConfig,
    sums: Sums,
    ratio_N_T: Tensor,
) -> None:
    """Add the gradients of one micro-batch, [n, t], and its share of the sums of its minibatch.

    Both losses are divided by the tokens of the whole minibatch, so the cut into micro-batches is no matter.
    """
    device = models.value_head.weight.device
    logprobs_n_t, _ = models.logprobs(rows)
    width = logprobs_n_t.shape[1]
    parts = (measured.logprobs, measured.values, targets.advantages, targets.returns, rollout.mask)
    old, old_values, advantages, returns, mask = (part[order, :width].to(device) for part in parts)
    policy = clipped_surrogate(
        logprobs_n_t, old, advantages, mask, clip=config.clip, total_tokens=sums.tokens
    )
    policy.loss.backward()
    models.optimisers["policy"].collect()
    value = clipped_value_loss(
        models.values(rows), old_values, returns, mask, clip=config.clip_value, total_tokens=sums.tokens
    )
    (config.value_coefficient * value.loss).backward()
    models.optimisers["critic"].collect()
    ratio_N_T[order, :width] = torch.where(mask, (logprobs_n_t.detach() - old).exp(), 1).cpu()
    sums.policy_loss += float(policy.loss.detach())
    sums.value_loss += float(value.loss.detach())
    sums.clipped += float(policy.clipped)
    sums.ratio += float(policy.ratio_sum)
    sums.kl += float(policy.kl_sum)
    sums.deviation = max(sums.deviation, float(policy.ratio_max_deviation))


def _step(models: Models, stats: UpdateStats, config: PPOConfig, step: int) -> None:
    """Clip, check and take one optimiser step of policy and critic."""
    policy, critic = models.optimisers["policy"], models.optimisers["critic"]
    norm, critic_norm = policy.clip(config.max_grad_norm), critic.clip(config.max_grad_norm)
    if not math.isfinite(norm + critic_norm):
        raise BrokenUpdateError(f"gradient norm {norm}, the critic's {critic_norm}")
    policy.step(annealed(step, config.steps, config.learning_rate))
    critic.step(annealed(step, config.steps, config.critic_learning_rate))
    stats.grad_norms.append(norm)
    stats.critic_grad_norms.append(critic_norm)
