"""Phases 1 and 2 of a step of policy learning: sample responses, look at them with every model.

Shapes: `B` prompts of the step, `K` samples a prompt, `N = B·K` responses, `T` tokens of the longest one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.models.packing import Row, embedding_dtype
from engine.models.sharding import gathered
from engine.models.trunk import grouped
from engine.objectives.kl import k1
from engine.objectives.rewards import overlong
from engine.policy_learning.models import Models
from engine.policy_learning.prompts import Prompt, Prompts, PromptSettings
from engine.policy_learning.rewards.parts import Conversation
from engine.policy_learning.rewards.score_scale import RewardScores
from engine.protocol.configs import PolicyLearningConfig
from engine.protocol.events import Event, Progress
from engine.rollout import Mixture, Sampled, Server, response_text, sample, sample_steps
from engine.text import Tokeniser
from engine.training.checkpoint import seeded
from engine.training.guards import MicroBatchSize, check_rounding, retry_on_out_of_memory
from engine.training.policy import Policy
from engine.training.ranks import Ranks, current


@dataclass(frozen=True)
class Rollout:
    """Phase 1: what the policy said."""

    prompts: list[Prompt]  # [B]
    sampled: list[Sampled]  # [N]
    texts: list[str]  # [N], cut at the stop token
    tokens: Tensor  # [N, T] on the CPU, 0 beyond the end
    mask: Tensor  # [N, T] bool
    sampled_logprobs: Tensor  # [N, T] as kept by the sampler
    staleness: int = 0  # steps that the policy has taken since it sampled

    @property
    def stopped(self) -> Tensor:
        """[N] bool: ended by a stop token, whichever of them, not by the budget."""
        return torch.tensor([response.stopped for response in self.sampled])

    @property
    def groups(self) -> Tensor:
        """[N] int64: which prompt of the step each response answers."""
        return torch.tensor([response.prompt_index for response in self.sampled])

    def prompt_of(self, n: int) -> Prompt:
        """The prompt that response n answers."""
        return self.prompts[self.sampled[n].prompt_index]

    def shared(self, chosen: Sequence[int], ranks: Ranks) -> list[int]:
        """Which of these responses this rank works on: all of every one of its prompts."""
        order = dict.fromkeys(self.sampled[n].prompt_index for n in chosen)
        own = set(ranks.share(list(order)))
        return [n for n in chosen if self.sampled[n].prompt_index in own]

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


def prompt_seeds(count: int, *key: object) -> list[int]:
    """A seed for each of so many prompts; `key` decides them all."""
    seeds: list[int] = torch.randint(2**62, (count,), generator=seeded(*key)).tolist()
    return seeds


def draw(
    model: PreTrainedModel | Mixture | Server,
    tokeniser: Tokeniser,
    prompts: list[Prompt],
    config: PromptSettings,
    microbatch: MicroBatchSize,
    *,
    stage: str,
    samples: int,
    seeds: Sequence[int],
) -> Generator[Event, None, list[Sampled]]:
    """1. Samples of each prompt: temperature only, no nucleus, stop at the model's own stop tokens.

    `seeds`, one a prompt, decide the randomness.
    """
    total = len(prompts) * samples

    def attempt(sequences: int) -> Generator[Event, None, list[Sampled]]:
        responses: list[Sampled] = []
        for batch in sample(
            model,
            tokeniser,
            [prompt.tokens for prompt in prompts],
            samples=samples,
            temperature=config.temperature,
            top_p=1.0,
            max_new_tokens=config.max_new_tokens,
            stop_ids=tokeniser.stop_ids,
            seeds=seeds,
            batch_sequences=sequences,
        ):
            responses += batch.responses
            yield Progress(stage=stage, done=len(responses), total=total, unit="responses")
        return responses

    return (yield from retry_on_out_of_memory(microbatch, attempt))


def collect(
    models: Models,
    prompts: list[Prompt],
    config: PolicyLearningConfig,
    *key: object,
    stage: str,
    samples: int = 0,
    mixture: Mixture | None = None,
    step: int = 0,
) -> Generator[Event, None, Rollout]:
    """1. K responses a prompt, or `samples`; `key` decides the randomness, however many ranks share them.

    They are the policy's, or those of a mixture with its reference; what a server was asked for ahead is
    taken.  step: steps that the policy has taken.
    """
    seeds = prompt_seeds(len(prompts), *key)
    if models.remote is not None:
        count = samples or config.samples
        return (yield from models.remote.collect(models, prompts, config, seeds, count, stage))
    policy, microbatch, ranks = models.policy, models.microbatches["sampling"], current()
    mine = ranks.share(range(len(prompts)))
    source = mixture or (policy.model if models.served is None else models.served.source())
    staleness = 0
    if models.served is not None and key in models.served.ahead.asked:
        sampled, when = yield from models.served.ahead.take(key, stage)
        staleness = max(0, step - when)
    else:
        with gathered(*_sampled_from(policy, source)):
            sampled = yield from draw(
                source, policy.tokeniser, [prompts[i] for i in mine], config, microbatch,
                stage=stage, samples=samples or config.samples, seeds=[seeds[i] for i in mine],
            )  # fmt: skip
    sampled = [replace(response, prompt_index=mine[response.prompt_index]) for response in sampled]
    everything = [response for part in ranks.gather(sampled, list[Sampled]) for response in part]
    everything.sort(key=lambda response: (response.prompt_index, response.sample_index))
    if models.served is not None:
        models.served.remember([Row(prompts[one.prompt_index].tokens, [one.token_ids]) for one in everything])
    return replace(as_rollout(models, prompts, everything), staleness=staleness)


def ask_ahead(models: Models, prompts: Prompts, step: int, config: PolicyLearningConfig) -> None:
    """Have the server sample for the steps behind the next one too, from the policy as it now is."""
    served, policy, ranks = models.served, models.policy, current()
    if served is None or not served.ahead.bound:
        return
    source = served.source()
    for later in range(step, min(step + served.ahead.bound, config.steps - 1) + 1):
        key = ("rollout", config.seed, later)
        chosen = prompts.of_step(later, config.prompts_per_step, config.seed)
        seeds, mine = prompt_seeds(len(chosen), *key), ranks.share(range(len(chosen)))
        sampling = partial(
            sample_steps, source, policy.tokeniser, [chosen[i].tokens for i in mine],
            samples=config.samples, temperature=config.temperature, top_p=1.0,
            max_new_tokens=config.max_new_tokens, stop_ids=policy.tokeniser.stop_ids,
            seeds=[seeds[i] for i in mine], batch_sequences=models.microbatches["sampling"].size,
        )  # fmt: skip
        served.ahead.ask(key, step, source.model, sampling)


def _sampled_from(policy: Policy, source: PreTrainedModel | Mixture | Server) -> list[nn.Module]:
    """The models that are decoded here, which their weights are put together for."""
    if isinstance(source, Server):
        return []
    return [policy.model] if policy.frozen is None else [policy.model, policy.frozen[0]]


def as_rollout(models: Models, prompts: list[Prompt], sampled: list[Sampled]) -> Rollout:
    """Responses as padded tensors."""
    longest = max(len(response.token_ids) for response in sampled)
    tokens_N_T = torch.zeros(len(sampled), longest, dtype=torch.long)
    logprobs_N_T = torch.zeros(len(sampled), longest)
    mask_N_T = torch.zeros(len(sampled), longest, dtype=torch.bool)
    for n, response in enumerate(sampled):
        length = len(response.token_ids)
        tokens_N_T[n, :length] = torch.tensor(response.token_ids)
        logprobs_N_T[n, :length] = torch.tensor(response.logprobs)
        mask_N_T[n, :length] = True
    texts = [response_text(models.policy.tokeniser, response) for response in sampled]
    return Rollout(prompts, sampled, texts, tokens_N_T, mask_N_T, logprobs_N_T)


@dataclass(frozen=True)
class Measured:
    """Phase 2: what every model says of the responses; [N, T] on the CPU, 0 beyond the end."""

    scored: RewardScores
    gold: Tensor | None  # [N] of the gold scorer, where it was asked
    logprobs: Tensor  # of the policy that sampled, by the forward pass of training
    ref_logprobs: Tensor
    entropy: Tensor
    values: Tensor | None  # None without a critic
    ratio_max_deviation: float  # max |exp(log π in training − log π at sampling) − 1|
    cut: Tensor  # [N] bool: longer than a reward model reads of it
    step_rewards: Tensor | None = None  # [N, T] at the ends of steps, where a process reward model pays
    wins: Tensor | None = None  # [N, N] P(row ≻ column) within a prompt, where samples are compared in pairs

    @property
    def scores(self) -> Tensor:
        """[N] as the reward models give them."""
        return self.scored.scores


@dataclass(frozen=True)
class Targets:
    """Phase 3: what the losses aim at; [N, T], 0 beyond the end."""

    kl: Tensor  # k1 estimate of each token, nats
    rewards: Tensor  # −β·kl a token where the algorithm puts it there, and the score at the last one
    advantages: Tensor  # as the loss sees them
    returns: Tensor | None  # what a critic should predict
    pairs: Tensor | None = None  # [M, 2] winner and loser, of losses that compare responses

    @property
    def kl_a_response(self) -> float:
        """Σ log π − log π_ref over a response's tokens, the mean over responses, in nats."""
        return float(self.kl.sum(dim=1).mean())


def measure(models: Models, rollout: Rollout, *, with_gold: bool = False) -> Generator[Event, None, Measured]:
    """2. Scores, log-probabilities, reference log-probabilities, values.

    Log-probabilities are computed again by the forward pass that training uses, so that the ratio of the
    first epoch is 1 whatever the sampler rounds differently; the largest deviation is kept for the record.
    A shared critic's values come from the same pass.  Ranks share the prompts, and all know the whole.
    """
    if models.remote is not None:
        return (yield from models.remote.measure(models, rollout, with_gold))
    ranks = current()
    mine = rollout.shared(range(len(rollout.sampled)), ranks)
    conversations = [
        rollout.prompt_of(n).conversation(text, rollout.sampled[n].token_ids)
        for n, text in enumerate(rollout.texts)
    ]

    def passes(sequences: int) -> Generator[Event, None, tuple[Tensor, Tensor, Tensor, Tensor]]:
        logprobs, references, values, entropy = torch.zeros(4, *rollout.mask.shape)
        seen, total = 0, len(mine)
        parts, idle = rollout.micro_batches(mine, sequences), partial(models.idle, learning=False)
        for rows, order in ranks.in_step(parts, idle, models.policy.trunk.module):
            with torch.no_grad():  # left before the yield: the consumer's gradients are its own
                outputs = models.policy.forward(rows)
                width = outputs.logprobs.shape[1]
                logprobs[order, :width], entropy[order, :width] = (
                    outputs.logprobs.cpu(),
                    outputs.entropy.cpu(),
                )
                references[order, :width] = models.policy.reference_logprobs(rows).cpu()
                if models.critic is not None:
                    values[order, :width] = models.critic.values(rows, outputs).cpu()
            seen += len(order)
            yield Progress(stage="scoring", done=seen, total=total, unit="responses")
        return logprobs, references, values, entropy

    logprobs, references, values, entropy = yield from retry_on_out_of_memory(
        models.microbatches["training"], passes
    )
    ranks.add(logprobs, references, values, entropy)
    apart_M = (logprobs - rollout.sampled_logprobs)[rollout.mask]
    judged = yield from models.rewards.judged(conversations)
    some = [conversations[n] for n in mine] or conversations[:1]
    with gathered(None if models.critic_trunk is None else models.critic_trunk.module):
        scored, gold = yield from scores_of(models, some, with_gold)
        step_rewards = yield from _step_rewards(models, rollout, conversations, mine)
    scored = scored.each(lambda score_n: _of_all(score_n, mine, len(conversations), ranks))
    scored = models.rewards.with_judged(scored, judged)
    gold = None if gold is None else _of_all(gold, mine, len(conversations), ranks)
    return Measured(
        scored=scored,
        gold=gold,
        logprobs=logprobs,
        ref_logprobs=references,
        entropy=entropy,
        values=None if models.critic is None else values,
        ratio_max_deviation=float((apart_M.exp() - 1).abs().max()),
        cut=models.rewards.cut(conversations),
        step_rewards=step_rewards,
    )


def _step_rewards(
    models: Models, rollout: Rollout, conversations: Sequence[Conversation], mine: Sequence[int]
) -> Generator[Event, None, Tensor | None]:
    """What the steps of all responses earn, [N, T]; None where nothing pays for steps."""
    process = models.rewards.process
    if process is None:
        return None

    def attempt(tokens: int) -> Generator[Event, None, Tensor]:
        yield Progress(stage="scoring steps", done=0, total=len(mine), unit="responses")
        return process.of([conversations[n] for n in mine], rollout.mask[list(mine)], tokens)

    rewards_N_T = torch.zeros(rollout.mask.shape)
    if mine:
        rewards_N_T[list(mine)] = yield from retry_on_out_of_memory(models.microbatches["scoring"], attempt)
    current().add(rewards_N_T)
    return rewards_N_T


def _of_all(score_n: Tensor, mine: Sequence[int], count: int, ranks: Ranks) -> Tensor:
    """Scores of this rank's responses, [.., n], among those of all, [.., count]."""
    of_all = score_n.new_zeros(*score_n.shape[:-1], count)
    of_all[..., mine] = score_n[..., : len(mine)]
    ranks.add(of_all)
    return of_all


def check_sampler(models: Models, rollout: Rollout, measured: Measured) -> None:
    """That the policy which is trained is the one that sampled, just now.  Raises WorkbenchError.

    Of a policy of some steps ago nothing is to be said; a server's weights have their canaries.
    """
    if rollout.staleness or models.remote is not None:
        return
    apart_M = (measured.logprobs - rollout.sampled_logprobs)[rollout.mask].abs()
    check_rounding(apart_M, embedding_dtype(models.policy.trunk.module), models.policy.temperature)


def scores_of(
    models: Models, conversations: Sequence[Conversation], with_gold: bool
) -> Generator[Event, None, tuple[RewardScores, Tensor | None]]:
    """What all rewards but judges say, and the gold scorer if asked."""

    def attempt(tokens: int) -> Generator[Event, None, tuple[RewardScores, Tensor | None]]:
        yield Progress(stage="scoring", done=0, total=len(conversations), unit="responses")
        gold = models.rewards.gold_scores(conversations, tokens) if with_gold else None
        return models.rewards.score(conversations, tokens), gold

    return (yield from retry_on_out_of_memory(models.microbatches["scoring"], attempt))


def shaped(final_N: Tensor, rollout: Rollout, config: PolicyLearningConfig) -> Tensor:
    """What is maximised, less what long responses lose, [N]."""
    if not config.overlong_tokens:
        return final_N
    return final_N - overlong(
        rollout.mask.sum(dim=1),
        budget=config.max_new_tokens,
        soft=config.overlong_tokens,
        penalty=config.overlong_penalty,
    )


def kl_of(rollout: Rollout, measured: Measured) -> Tensor:
    """The k1 estimate of every token's KL to the reference, [N, T] nats, 0 beyond the end."""
    return torch.where(rollout.mask, k1(measured.logprobs, measured.ref_logprobs), 0)


def at_last_token(x_N: Tensor, mask_N_T: Tensor) -> Tensor:
    """x at the last token of each response, 0 elsewhere.  [N, T]"""
    placed_N_T = torch.zeros(mask_N_T.shape)
    placed_N_T[torch.arange(len(x_N)), mask_N_T.sum(dim=1) - 1] = x_N
    return placed_N_T
