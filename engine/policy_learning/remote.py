"""A policy that a server of the Tinker API samples and trains; a prototype.

Here are prompts, rewards, advantages, bounds and what a step leaves behind, as ever; there are the weights,
sampling, the loss by its name and the optimiser.  The server adds its loss up over tokens, so every advantage
is sent divided by what the loss here would be divided by.

The KL that GRPO has in its loss (k2) goes into the advantages, as −β(log π − log π_ref) a token: that has the
same gradient where the policy is the one that sampled, so in a single pass with one minibatch.  In later
passes it stays what it was at first.  `target_kl_update` ends an update after the step that exceeded it.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from engine.endpoints.tinker import LossExample, TrainingServer
from engine.models.device import resolve_device
from engine.models.features import FEATURE_TOKENS
from engine.objectives.groups import token_divisor
from engine.objectives.policy import clipped_surrogate
from engine.policy_learning.models import ADAM_EPS, Models
from engine.policy_learning.prompts import Prompt
from engine.policy_learning.rewards.parts import RewardModels
from engine.policy_learning.rewards.rewards import load_rewards
from engine.policy_learning.rollout import Measured, Rollout, as_rollout, scores_of
from engine.policy_learning.update import BrokenUpdateError, Sums, Update, UpdateStats, minibatches
from engine.protocol.configs import GRPOConfig, PolicyLearningConfig
from engine.protocol.events import Event, Progress
from engine.protocol.rundir import RunDir
from engine.rollout import Sampled
from engine.text import Tokeniser
from engine.training.guards import MicroBatchSize
from engine.training.optimiser import annealed

if TYPE_CHECKING:
    from engine.training.policy import Policy


@dataclass(frozen=True)
class Reader:
    """What is here of a policy whose weights are elsewhere: how it reads and writes."""

    tokeniser: Tokeniser


def load_remote(config: PolicyLearningConfig, folders: Mapping[str, Path], run: RunDir) -> Models:
    """Rewards here, the policy at `trainer`.  Raises as `load_rewards` and `TrainingServer.training`."""
    tokeniser = Tokeniser.from_folder(folders["policy"])
    loaded = RewardModels(config.dtype, resolve_device(config.device))
    rewards = load_rewards(config, folders, tokeniser, loaded, run)
    names = [str(folders["policy"]), run.model("policy").name, run.model("policy").folder]
    server = TrainingServer.training(config.remote(), names, config.lora_rank, config.seed)
    return Models(
        policy=cast("Policy", Reader(tokeniser)),
        critic=None,
        rewards=rewards,
        optimisers={},
        peaks={"policy": config.peak_learning_rate},
        microbatches={"scoring": MicroBatchSize(FEATURE_TOKENS, "tokens")},
        remote=RemotePolicy(server, run.path.name),
    )


@dataclass(frozen=True)
class RemotePolicy:
    """What stands in for sampling, for passes of the policy, and for an update."""

    server: TrainingServer
    run: str

    def _name(self, of: str) -> str:
        """Of weights on the server; never used before, also not by an earlier process of the run."""
        return f"{self.run}-{of}-{time.time_ns():x}"

    def save(self) -> str:
        """Have the server keep weights and optimiser, for `load`."""
        return self.server.save(self._name("state"))

    def load(self, path: str) -> None:
        """Go on from what was kept."""
        self.server.load(path)
        self.server.use_weights(self._name("sampler"))

    def collect(
        self,
        models: Models,
        prompts: list[Prompt],
        config: PolicyLearningConfig,
        seeds: Sequence[int],
        samples: int,
        stage: str,
    ) -> Generator[Event, None, Rollout]:
        """1. Samples of each prompt."""
        total, stop = len(prompts) * samples, models.policy.tokeniser.stop_ids
        yield Progress(stage=stage, done=0, total=total, unit="responses")
        tokens = [prompt.tokens for prompt in prompts]
        drawn = self.server.sample(tokens, samples, config.max_new_tokens, sorted(stop), seeds)
        yield Progress(stage=stage, done=total, total=total, unit="responses")
        everything = [
            Sampled(prompt, sample, one.tokens, one.logprobs, one.stopped and one.tokens[-1] in stop)
            for prompt, of_prompt in enumerate(drawn)
            for sample, one in enumerate(of_prompt)
        ]
        return as_rollout(models, prompts, everything)

    def measure(self, models: Models, rollout: Rollout, with_gold: bool) -> Generator[Event, None, Measured]:
        """2. Scores here, log π_ref by the server; log π is the sampler's, which has the weights trained."""
        responses = [one.token_ids for one in rollout.sampled]
        asked = [rollout.prompt_of(n) for n in range(len(responses))]
        conversations = [
            prompt.conversation(text, tokens)
            for prompt, text, tokens in zip(asked, rollout.texts, responses, strict=True)
        ]
        scored, gold = yield from scores_of(models, conversations, with_gold)
        references = self.server.base_logprobs([prompt.tokens for prompt in asked], responses)
        return Measured(
            scored=scored,
            gold=gold,
            logprobs=rollout.sampled_logprobs,
            ref_logprobs=_padded(references, rollout.mask),
            entropy=-rollout.sampled_logprobs,  # of what was drawn: an estimate without bias
            values=None,
            ratio_max_deviation=0.0,
            cut=models.rewards.cut(conversations),
        )

    def update(self, update: Update) -> Generator[Event, None, UpdateStats]:
        """4. `epochs` passes over the rollout, as `Update.run` takes them.  Raises BrokenUpdateError."""
        config, server, rollout = update.config, self.server, update.rollout
        stats = UpdateStats(torch.ones(rollout.mask.shape))
        clipping = {
            "clip_low_threshold": 1 - config.clip,
            "clip_high_threshold": 1 + (config.clip_high or config.clip),
        }
        total = config.epochs * config.minibatches
        for epoch in range(config.epochs):
            for chosen in minibatches(rollout, config, update.step, epoch, update.used):
                sent_n_T = sent(update, chosen)
                examples = [_example(update, n, row_T) for n, row_T in zip(chosen, sent_n_T, strict=True)]
                logprobs = server.forward_backward(examples, "ppo", clipping)
                sums = _sums(update, chosen, sent_n_T, _padded(logprobs, rollout.mask[chosen]), stats)
                if not torch.tensor(sums.policy_loss).isfinite():
                    raise BrokenUpdateError(f"policy loss {sums.policy_loss}")
                learning_rate = annealed(update.step, config.steps, config.peak_learning_rate)
                server.optim_step(learning_rate, ADAM_EPS, config.max_grad_norm)
                stats.minibatches.append(sums)
                yield Progress(stage="updating", done=len(stats.minibatches), total=total)
                if config.target_kl_update and sums.kl / sums.tokens > config.target_kl_update:
                    break
        server.use_weights(self._name("sampler"))
        return stats


def sent(update: Update, chosen: list[int]) -> Tensor:
    """[n, T] advantages of a minibatch as the server gets them: over what a token's loss is divided by."""
    config, mask_n_T = update.config, update.rollout.mask[chosen]
    advantages_n_T = update.targets.advantages[chosen]
    if not isinstance(config, GRPOConfig):
        return advantages_n_T / len(chosen)  # RLOO: the mean over responses
    apart_n_T = update.measured.logprobs[chosen] - update.measured.ref_logprobs[chosen]
    tokens = int(mask_n_T.sum())
    divisor = token_divisor(mask_n_T, config.loss_average, config.max_new_tokens, tokens, len(chosen))
    return torch.where(mask_n_T, advantages_n_T - update.beta * apart_n_T, 0) / divisor


def _example(update: Update, n: int, sent_T: Tensor) -> LossExample:
    tokens = update.rollout.sampled[n].token_ids
    logprobs_T = update.measured.logprobs[n, : len(tokens)]
    prompt = update.rollout.prompt_of(n).tokens
    return LossExample(prompt, tokens, logprobs_T.tolist(), sent_T[: len(tokens)].tolist())


def _padded(values: Sequence[Sequence[float]], mask_n_T: Tensor) -> Tensor:
    """[n, T] what was told of each response, 0 beyond its end."""
    whole_n_T = torch.zeros(mask_n_T.shape)
    whole_n_T[mask_n_T] = torch.tensor([value for of_response in values for value in of_response])
    return whole_n_T


def _sums(
    update: Update, chosen: list[int], sent_n_T: Tensor, logprobs_n_T: Tensor, stats: UpdateStats
) -> Sums:
    """What the loss saw, from the log-probabilities that the server says it had."""
    config, mask_n_T = update.config, update.rollout.mask[chosen]
    old_n_T = update.measured.logprobs[chosen]
    sums = Sums(tokens=int(mask_n_T.sum()), responses=len(chosen))
    loss = clipped_surrogate(
        logprobs_n_T,
        old_n_T,
        sent_n_T,
        mask_n_T,
        clip=config.clip,
        clip_high=config.clip_high,
        total_tokens=1,
    )
    sums.add(loss)
    stats.ratio[chosen] = torch.where(mask_n_T, (logprobs_n_T - old_n_T).exp(), 1)
    return sums
