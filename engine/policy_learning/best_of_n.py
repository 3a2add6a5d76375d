"""Best-of-n: sample N responses to every prompt, keep the one that the reward likes best.

No weights move, and yet the policy that answers so is a better one, at a KL to the original of at most
ln n − (n − 1)/n; it gives the curve of over-optimisation at little cost before any policy is trained.

1. sample N responses a prompt and score them with the reward (the proxy) and the gold scorer, a few prompts
at a
   time; what is done lies in files, and a resumed run goes on behind it
2. the best of each prompt becomes a response of the policy that the job registers
3. for n = 1, 2, 4, … N: the mean over all subsets of n samples of the proxy's and the gold's score of the
sample
   that the proxy likes best (engine.objectives.best_of)

The randomness of a response comes from the seed, its prompt and its sample index alone.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import PreTrainedModel

from engine.models.catalogue import resolving
from engine.models.device import resolve_device
from engine.models.features import FEATURE_TOKENS
from engine.models.policy import load_policy
from engine.objectives.best_of import best_of, kl_bound, subset_sizes
from engine.policy_learning.reward_parts import Scales
from engine.policy_learning.rewards import Rewards, ScoreScale, load_rewards
from engine.policy_learning.rollout import Prompt, read_prompts
from engine.protocol.configs import BestOfNConfig
from engine.protocol.events import Event, Finished, Message, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.rollout import Sampled, response_text, sample
from engine.tables import RESPONSES, existing_outputs, write_output
from engine.text import Tokeniser
from engine.training.checkpoint import stable_hash
from engine.training.guards import Portion, halving

SAMPLED = pa.schema(
    [
        ("step", pa.int64()),
        ("prompt_id", pa.string()),
        ("sample_index", pa.int32()),
        ("text", pa.string()),
        ("score", pa.float64()),  # of the proxy: what is maximised
        ("reward", pa.float64()),  # the same
        ("kl", pa.float64()),
        ("tokens", pa.int32()),
        ("stopped", pa.bool_()),
        ("components", pa.string()),
    ]
)
STEP = 1  # all samples of the job are those of one step


@dataclass(frozen=True)
class Sampler:
    """The policy and the rewards, and how much goes through them at once."""

    model: PreTrainedModel
    tokeniser: Tokeniser
    rewards: Rewards
    sampling: Portion
    scoring: Portion


def run(config: BestOfNConfig, run: RunDir) -> Iterator[Event]:
    """The job.  Raises UsageError without usable prompts or with a reward that cannot be used."""
    folders: dict[str, Path] = {}
    for role, model in run.inputs.models.items():
        folders[role] = yield from resolving(model.folder)
    tokeniser = Tokeniser.from_folder(folders["policy"])
    prompts = read_prompts(run.table("prompts"), tokeniser, config, tokeniser.max_positions)
    if prompts.too_long:
        yield Message(level="warning", text=f"{prompts.too_long} prompts are too long and were left out.")
    # A response file is written after the file of its samples: what it names is complete.
    announced, done, number = existing_outputs(run, "responses", "prompt_id")
    yield from announced
    waiting = [prompt for prompt in prompts.kept if prompt.prompt_id not in done]
    if waiting:
        yield Progress(stage="loading models", done=0, total=1)
        sampler = load_sampler(config, folders, tokeniser)
        yield Progress(stage="loading models", done=1, total=1)
        few = max(1, config.batch_sequences // config.samples)
        for start in range(0, len(waiting), few):
            chosen = waiting[start : start + few]
            yield from some_prompts(sampler, chosen, config, run, number)
            number += 1
            ready = len(done) + start + len(chosen)
            yield Progress(stage="sampling", done=ready, total=len(prompts.kept), unit="prompts")
    yield from report(run, config)


def load_sampler(config: BestOfNConfig, folders: dict[str, Path], tokeniser: Tokeniser) -> Sampler:
    device = resolve_device(config.device)
    return Sampler(
        model=load_policy(folders["policy"], config.dtype, device).requires_grad_(False),
        tokeniser=tokeniser,
        rewards=load_rewards(config, folders, tokeniser, Scales(config.dtype, device)),
        sampling=Portion(config.batch_sequences, "sequences"),
        scoring=Portion(FEATURE_TOKENS, "tokens"),
    )


def draw(
    sampler: Sampler, prompts: list[Prompt], config: BestOfNConfig
) -> Generator[Event, None, list[Sampled]]:
    """1. N samples of each prompt, ordered by prompt and sample."""

    def attempt(sequences: int) -> Generator[Event, None, list[Sampled]]:
        sampled: list[Sampled] = []
        for batch in sample(
            sampler.model,
            sampler.tokeniser,
            [prompt.tokens for prompt in prompts],
            samples=config.samples,
            temperature=config.temperature,
            max_new_tokens=config.max_new_tokens,
            stop_ids=sampler.tokeniser.stop_ids,
            seeds=[stable_hash("best of n", config.seed, prompt.prompt_id) >> 2 for prompt in prompts],
            batch_sequences=sequences,
        ):
            sampled += batch.responses
            yield Progress(stage="sampling responses", done=len(sampled), unit="responses")
        return sampled

    return (yield from halving(sampler.sampling, attempt))


def some_prompts(
    sampler: Sampler, prompts: list[Prompt], config: BestOfNConfig, run: RunDir, number: int
) -> Iterator[Event]:
    """1 and 2 for a few prompts; one file of samples and one of the best."""

    sampled = yield from draw(sampler, prompts, config)
    texts = [response_text(sampler.tokeniser, response) for response in sampled]
    conversations = [
        (prompts[response.prompt_index].messages, text) for response, text in zip(sampled, texts, strict=True)
    ]

    def score(tokens: int) -> Generator[Event, None, tuple[torch.Tensor, dict[str, torch.Tensor]]]:
        yield Progress(stage="scoring", done=0, total=len(texts), unit="responses")
        scored = sampler.rewards.score(conversations, tokens)
        proxy = sampler.rewards.combined(scored, ScoreScale(), 1.0)
        gold = sampler.rewards.gold_scores(conversations, tokens)
        return proxy, scored.components | ({} if gold is None else {"gold": gold})

    proxy_N, components = yield from halving(sampler.scoring, score)
    rows = [
        {
            "step": STEP,
            "prompt_id": prompts[response.prompt_index].prompt_id,
            "sample_index": response.sample_index,
            "text": texts[n],
            "score": float(proxy_N[n]),
            "reward": float(proxy_N[n]),
            "kl": None,  # the samples are the policy's own
            "tokens": len(response.token_ids),
            "stopped": response.stopped,
            "components": json.dumps({name: float(scores[n]) for name, scores in components.items()}),
        }
        for n, response in enumerate(sampled)
    ]
    yield write_output(run, run.output_path("rollouts", number), "rollouts", SAMPLED, rows)
    best = [best_row(rows, sampled, prompt.prompt_id) for prompt in prompts]
    yield write_output(run, run.output_path("responses", number), "responses", RESPONSES, best)


def best_row(rows: list[dict[str, Any]], sampled: list[Sampled], prompt_id: str) -> dict[str, Any]:
    """The sample of a prompt that the proxy likes best, the first of equals, as a response."""
    own = [n for n, row in enumerate(rows) if row["prompt_id"] == prompt_id]
    best = max(own, key=lambda n: (rows[n]["score"], -n))
    return {
        "prompt_id": prompt_id,
        "sample_index": 0,
        "text": rows[best]["text"],
        "token_ids": sampled[best].token_ids,
        "token_logprobs": sampled[best].logprobs,
        "finish_reason": "stop" if sampled[best].stopped else "length",
    }


def report(run: RunDir, config: BestOfNConfig) -> Iterator[Event]:
    """3. The curve over n, from all samples of the job, in one mean over prompts."""
    proxies: dict[str, list[float]] = defaultdict(list)
    golds: dict[str, list[float]] = defaultdict(list)
    for path in sorted(run.output_path("rollouts", 0).parent.glob("rollouts-*.parquet")):
        for row in pq.read_table(path, columns=["prompt_id", "score", "components"]).to_pylist():
            proxies[row["prompt_id"]].append(row["score"])
            if config.gold:
                golds[row["prompt_id"]].append(json.loads(row["components"])["gold"])
    summary: dict[str, float | int | str | None] = {"prompts": len(proxies), "samples": config.samples}
    for n in subset_sizes(config.samples):
        values = {"bon/kl": kl_bound(n)}
        for name, found in (("bon/proxy", proxies), ("bon/gold", golds)):
            means = [
                best_of(torch.tensor(proxies[prompt]), torch.tensor(scores), n)
                for prompt, scores in sorted(found.items())
            ]
            if means:
                values[name] = sum(means) / len(means)
        yield Metrics(step=n, values=values)
        if n in (1, config.samples):
            summary |= {f"{name.removeprefix('bon/')}_of_{n}": value for name, value in values.items()}
    yield Finished(summary=summary)
