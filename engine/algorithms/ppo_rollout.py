"""Phases 1 to 3 of a PPO step: sample responses, look at them with every model, compute advantages.

Shapes: `B` prompts of the step, `K` samples a prompt, `N = B·K` responses, `T` tokens of the longest one.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import torch
from torch import Tensor

from engine.algorithms.checkpoint import seeded
from engine.algorithms.parts import grouped
from engine.algorithms.ppo_models import Models
from engine.errors import UsageError
from engine.models.packing import Row
from engine.objectives.advantages import generalised_advantages, masked_mean, masked_variance, whiten
from engine.objectives.kl import k1
from engine.protocol.configs import PPOConfig
from engine.protocol.events import Progress
from engine.rollout import Sampled, response_text, sample
from engine.text import Chat, Tokeniser

BATCH_SEQUENCES = 64


@dataclass(frozen=True)
class Prompt:
    """An input-only prompt."""

    prompt_id: str
    messages: Chat
    tokens: list[int]


@dataclass(frozen=True)
class Prompts:
    """The training prompts, and how many were left out as too long."""

    kept: list[Prompt]
    too_long: int

    def of_step(self, step: int, count: int, seed: int) -> list[Prompt]:
        """`count` distinct prompts of step `step` (from 0), each pass in a fresh order, its rest skipped."""
        count = min(count, len(self.kept))
        steps_a_pass = len(self.kept) // count
        passes, place = divmod(step, steps_a_pass)
        order = torch.randperm(len(self.kept), generator=seeded("prompts", seed, passes)).tolist()
        return [self.kept[i] for i in order[place * count : (place + 1) * count]]


def read_prompts(path: Path, tokeniser: Tokeniser, config: PPOConfig, positions: int | None) -> Prompts:
    """Read the `prompts` table; of a table with a `split`, the rows of 'train'.

    Raises UsageError when no prompt is short enough.
    """
    longest = config.max_prompt_tokens
    if positions:
        longest = min(longest, positions - config.max_new_tokens)
    kept, too_long = [], 0
    for record in pq.read_table(path).to_pylist():
        if (record.get("split") or "train") != "train":
            continue
        messages = json.loads(record["messages"])
        tokens = tokeniser.encode_prompt(messages, config.template)
        if len(tokens) > longest:
            too_long += 1
        elif tokens:
            kept.append(Prompt(record["prompt_id"], messages, tokens))
    if not kept:
        raise UsageError(
            f"No prompt to learn on: {too_long} prompts are longer than {longest} tokens and there is no "
            "other; import prompts or raise max_prompt_tokens."
        )
    return Prompts(kept, too_long)


@dataclass(frozen=True)
class Rollout:
    """Phase 1: what the policy said."""

    prompts: list[Prompt]  # [B]
    sampled: list[Sampled]  # [N]
    texts: list[str]  # [N], cut at the stop token
    tokens: Tensor  # [N, T] on the CPU, 0 beyond the end
    mask: Tensor  # [N, T] bool
    sampled_logprobs: Tensor  # [N, T] as kept by the sampler

    @property
    def stopped(self) -> Tensor:
        """[N] bool: ended by a stop token, whichever of them, not by the budget."""
        return torch.tensor([response.stopped for response in self.sampled])

    def prompt_of(self, n: int) -> Prompt:
        return self.prompts[self.sampled[n].prompt_index]

    def micro_batches(self, chosen: Sequence[int], sequences: int) -> Iterator[tuple[list[Row], list[int]]]:
        """Rows of the chosen responses, `sequences` at a time, and which response each place of them holds.

        Samples of a prompt share a row.  Long rows come first, so that rows padded together are alike; the
        order within a minibatch does not change its gradient.
        """
        rank = {n: (-len(self.prompt_of(n).tokens), self.sampled[n].prompt_index, n) for n in chosen}
        ordered = sorted(chosen, key=rank.__getitem__)
        for start in range(0, len(ordered), sequences):
            part = ordered[start : start + sequences]
            rows, order = grouped([(self.prompt_of(n).tokens, self.sampled[n].token_ids) for n in part])
            yield rows, [part[place] for place in order]


def collect(
    models: Models, prompts: list[Prompt], config: PPOConfig, generator: torch.Generator, stage: str
) -> Generator[Progress, None, Rollout]:
    """1. Sample K responses a prompt: temperature only, no nucleus, stop at the model's own stop tokens."""
    sampled: list[Sampled] = []
    total = len(prompts) * config.samples
    for batch in sample(
        models.policy,
        models.tokeniser,
        [prompt.tokens for prompt in prompts],
        samples=config.samples,
        temperature=config.temperature,
        top_p=1.0,
        max_new_tokens=config.max_new_tokens,
        stop_ids=models.tokeniser.stop_ids,
        generator=generator,
        batch_sequences=BATCH_SEQUENCES,
    ):
        sampled += batch.responses
        yield Progress(stage=stage, done=len(sampled), total=total, unit="responses")
    longest = max(len(response.token_ids) for response in sampled)
    tokens_N_T = torch.zeros(total, longest, dtype=torch.long)
    logprobs_N_T = torch.zeros(total, longest)
    mask_N_T = torch.zeros(total, longest, dtype=torch.bool)
    for n, response in enumerate(sampled):
        length = len(response.token_ids)
        tokens_N_T[n, :length] = torch.tensor(response.token_ids)
        logprobs_N_T[n, :length] = torch.tensor(response.logprobs)
        mask_N_T[n, :length] = True
    texts = [response_text(models.tokeniser, response) for response in sampled]
    return Rollout(prompts, sampled, texts, tokens_N_T, mask_N_T, logprobs_N_T)


@dataclass(frozen=True)
class Measured:
    """Phase 2: what every model says of the responses; [N, T] on the CPU, 0 beyond the end."""

    scores: Tensor  # [N] as the reward model gives them
    logprobs: Tensor  # of the policy that sampled, by the forward pass of training
    ref_logprobs: Tensor
    values: Tensor
    entropy: Tensor
    ratio_max_deviation: float  # max |exp(log π in training − log π at sampling) − 1|


def measure(models: Models, rollout: Rollout, config: PPOConfig) -> Generator[Progress, None, Measured]:
    """2. Scores, log-probabilities, reference log-probabilities, values.

    Log-probabilities are computed again by the forward pass that training uses, so that the ratio of the
    first epoch is 1 whatever the sampler rounds differently; the largest deviation is kept for the record.
    """
    conversations = [(rollout.prompt_of(n).messages, text) for n, text in enumerate(rollout.texts)]
    logprobs, references, values, entropy = torch.zeros(4, *rollout.mask.shape)
    seen, total = 0, len(rollout.sampled)
    for rows, order in rollout.micro_batches(range(total), config.microbatch):
        with torch.no_grad():  # left before the yield: the consumer's gradients are its own
            found, uncertainty = models.logprobs(rows)
            width = found.shape[1]
            logprobs[order, :width], entropy[order, :width] = found.cpu(), uncertainty.cpu()
            references[order, :width] = models.reference_logprobs(rows).cpu()
            values[order, :width] = models.values(rows).cpu()
        seen += len(order)
        yield Progress(stage="scoring", done=seen, total=total, unit="responses")
    deviation = ((logprobs - rollout.sampled_logprobs).exp() - 1).abs()[rollout.mask].max()
    return Measured(
        scores=models.scores(conversations, config.microbatch),
        logprobs=logprobs,
        ref_logprobs=references,
        values=values,
        entropy=entropy,
        ratio_max_deviation=float(deviation),
    )


@dataclass(frozen=True)
class ScoreScale:
    """Shift and scale that give the scores of reference samples mean 0 and variance 1."""

    mean: float = 0.0
    std: float = 1.0

    @classmethod
    def of(cls, scores_N: Tensor) -> ScoreScale:
        std = float(scores_N.double().std(unbiased=False))
        return cls(float(scores_N.double().mean()), std if std > 1e-6 else 1.0)

    def final_scores(self, scores_N: Tensor, stopped_N: Tensor, penalty: float) -> Tensor:
        """Normalised scores; one that never stopped has the fixed penalty instead.  [N]"""
        return torch.where(stopped_N, (scores_N - self.mean) / self.std, penalty)


@dataclass(frozen=True)
class Targets:
    """Phase 3: what the losses aim at; [N, T], 0 beyond the end."""

    kl: Tensor  # k1 estimate of each token, nats
    rewards: Tensor
    advantages: Tensor  # as the loss sees them, whitened if asked
    returns: Tensor

    @property
    def kl_a_response(self) -> float:
        return float(self.kl.sum(dim=1).mean())


def aim(rollout: Rollout, measured: Measured, scale: ScoreScale, beta: float, config: PPOConfig) -> Targets:
    """3. Reward −β·(log π − log π_ref) a token, the score once at the last token; then GAE and whitening."""
    mask_N_T = rollout.mask
    kl_N_T = torch.where(mask_N_T, k1(measured.logprobs, measured.ref_logprobs), 0)
    final_N = scale.final_scores(measured.scores, rollout.stopped, config.missing_stop_penalty)
    rewards_N_T = -beta * kl_N_T
    rewards_N_T[torch.arange(len(final_N)), mask_N_T.sum(dim=1) - 1] += final_N
    advantages_N_T, returns_N_T = generalised_advantages(
        rewards_N_T, measured.values, mask_N_T, gamma=config.gamma, lam=config.lam
    )
    if config.whiten_advantages:
        advantages_N_T = whiten(advantages_N_T, mask_N_T)
    return Targets(kl_N_T, rewards_N_T, advantages_N_T, returns_N_T)


def calibration(values_N_T: Tensor, final_N: Tensor, mask_N_T: Tensor) -> tuple[float, float]:
    """Scale in [0, 1] and shift that bring the critic's first values nearest the scores they predict.

    The reward model's head was trained at the end of the turn only; elsewhere its values may be far off, and
    the value clip would let them come back slowly.  Least squares of score on value over all tokens.
    """
    target_N_T = final_N[:, None].expand_as(values_N_T)
    value_mean, target_mean = masked_mean(values_N_T, mask_N_T), masked_mean(target_N_T, mask_N_T)
    covariance = masked_mean((values_N_T - value_mean) * (target_N_T - target_mean), mask_N_T)
    variance = masked_variance(values_N_T, mask_N_T)
    scale = float((covariance / variance).clamp(0, 1)) if variance > 0 else 0.0
    return scale, float(target_mean - scale * value_mean)
