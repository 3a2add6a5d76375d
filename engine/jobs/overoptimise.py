"""Over-optimisation against a gold reward model (Gao, Schulman and Hilton, arXiv 2210.10760).

1. the policy answers every prompt N times; the gold reward model scores all of it
2. pairs of answers to training prompts are labelled by it: a is preferred with σ(r_a − r_b), the scores in
   standard deviations within a prompt
3. proxies, ridge heads on the policy's frozen trunk, learn 50, 100, … of these labels, several times each
4. best of n by every proxy on the held-out prompts: what the proxy thinks of its choice, and what it is worth

All figures of one proxy are of the same samples, every subset of n counted (`objectives.best_of`).  Scores of
proxy and gold are in standard deviations within a prompt from their mean.  The departure from the paper is
that proxies differ in their labels, not in their size.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.errors import UsageError
from engine.frozen.comparisons import Comparisons, stacked
from engine.frozen.fit import FitSettings, fit_head
from engine.models.catalogue import resolving
from engine.models.device import resolve_device
from engine.models.features import FEATURE_TOKENS, default_layers, depth, features_of
from engine.models.policy import load_policy
from engine.models.reward_model import load_reward_model
from engine.objectives.best_of import best_of, subset_sizes
from engine.objectives.groups import group_advantages, spread_within
from engine.policy_learning.best_of_n import SAMPLED
from engine.policy_learning.prompts import Prompt, read_prompts
from engine.policy_learning.rollout import draw
from engine.protocol.configs import OveroptimiseConfig
from engine.protocol.events import Event, Finished, Message, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.reward_learning.frozen.features import PARTS, load_trunk
from engine.rollout import Sampled, response_text
from engine.tables import write_output, write_splits
from engine.text import Tokeniser
from engine.training.checkpoint import stable_hash
from engine.training.guards import MicroBatchSize
from engine.wording import counted


@dataclass(frozen=True)
class Answers:
    """All samples: P prompts, training prompts first, K samples each."""

    prompts: list[Prompt]
    training: int  # how many prompts the proxies may learn from
    sampled: list[Sampled]
    texts: list[str]

    @property
    def groups(self) -> np.ndarray:
        """[N] the prompt of each sample."""
        return np.array([one.prompt_index for one in self.sampled])


def run(config: OveroptimiseConfig, directory: RunDir) -> Iterator[Event]:
    """The job.  Raises UsageError without usable prompts, or where the gold scores do not differ."""
    folder = yield from resolving(directory.model("policy").folder)
    gold_folder = yield from resolving(directory.model("gold").folder)
    tokeniser = Tokeniser.from_folder(folder)
    answers = yield from _answers(config, directory, folder, tokeniser)
    gold_N = yield from _gold(config, gold_folder, answers)
    layers, features_N_F = yield from _features(config, folder, tokeniser, answers)
    pool = _pairs(answers)
    yield from _messages(config, answers, len(pool))
    proxies = {}
    for count in config.counts():
        for replicate in range(config.replicates):
            if count <= len(pool):
                labelled = labels(pool, gold_N, answers.groups, count, (config.seed, replicate))
                head = fit_head(
                    features_N_F, labelled, layers=layers, parts=PARTS,
                    settings=FitSettings(members=0, seed=config.seed),
                )  # fmt: skip
                proxies[count, replicate] = head.scores(features_N_F)[:, 0].astype(np.float64)
        yield Progress(stage="proxies", done=count, total=config.counts()[-1], unit="labels")
    if not proxies:
        raise UsageError(
            f"There are {counted(len(pool), 'pair')} to label, fewer than {config.counts()[0]}; take more "
            "prompts or samples, or fewer labels."
        )
    held = answers.groups >= answers.training
    yield _rollouts(directory, answers, held, gold_N, proxies)
    summary = yield from _curves(answers.groups[held], gold_N[held], {k: v[held] for k, v in proxies.items()})
    yield Finished(summary=summary)


def _answers(
    config: OveroptimiseConfig, run: RunDir, folder: Path, tokeniser: Tokeniser
) -> Generator[Event, None, Answers]:
    prompt_set = read_prompts(run.table("prompts"), tokeniser, config, tokeniser.max_positions)
    yield from prompt_set.left_out.messages()
    prompts = [*prompt_set.train, *prompt_set.heldout]
    yield write_splits(
        run,
        train=[one.prompt_id for one in prompt_set.train],
        heldout=[one.prompt_id for one in prompt_set.heldout],
    )
    yield Progress(stage="loading models", done=0, total=1)
    model = load_policy(folder, config.dtype, resolve_device(config.device)).requires_grad_(False)
    yield Progress(stage="loading models", done=1, total=1)
    sampled = yield from draw(
        model, tokeniser, prompts, config, MicroBatchSize(config.batch_sequences, "sequences"),
        stage="sampling responses", samples=config.samples,
        seeds=[stable_hash("over-optimisation", config.seed, one.prompt_id) >> 2 for one in prompts],
    )  # fmt: skip
    texts = [response_text(tokeniser, one) for one in sampled]
    return Answers(prompts, len(prompt_set.train), sampled, texts)


def _gold(config: OveroptimiseConfig, folder: Path, answers: Answers) -> Generator[Event, None, np.ndarray]:
    """[N] gold scores.  Raises UsageError where those of a prompt never differ."""
    model = load_reward_model(folder, config.dtype, resolve_device(config.device))
    tokeniser = model.tokeniser
    pairs = []
    for one, text in zip(answers.sampled, answers.texts, strict=True):
        messages = answers.prompts[one.prompt_index].messages
        tokens = tokeniser.encode_for_score(messages, text, tokeniser.score_tokens)
        pairs.append((tokens.prompt, tokens.response))
    scores_N = np.zeros(len(pairs))
    done = 0
    for places, scores_n_C, _ in model.measured(pairs):
        scores_N[places] = scores_n_C[:, 0].double().numpy()
        done += len(places)
        yield Progress(stage="gold scores", done=done, total=len(pairs), unit="responses")
    if within(scores_N, answers.groups)[1] <= 0:
        raise UsageError(f"{config.gold} gives all samples of a prompt one score; take another gold model.")
    return scores_N


def _features(
    config: OveroptimiseConfig, folder: Path, tokeniser: Tokeniser, answers: Answers
) -> Generator[Event, None, tuple[tuple[int, ...], np.ndarray]]:
    trunk = load_trunk(folder, config, tokeniser)
    layers = default_layers(depth(trunk.module))
    encoded = [
        tokeniser.encode_for_score(answers.prompts[one.prompt_index].messages, text, tokeniser.score_tokens)
        for one, text in zip(answers.sampled, answers.texts, strict=True)
    ]
    pairs = [(tokens.prompt, tokens.response) for tokens in encoded]
    by_place: dict[int, np.ndarray] = {}
    for places, features_n_F in features_of(trunk, pairs, layers, PARTS, FEATURE_TOKENS):
        by_place.update(zip(places, features_n_F.numpy(), strict=True))
        yield Progress(stage="features", done=len(by_place), total=len(pairs), unit="responses")
    return layers, np.stack([by_place[place] for place in range(len(pairs))])


def _pairs(answers: Answers) -> list[tuple[int, int, int]]:
    """(prompt, left, right) of all pairs of different samples of a training prompt."""
    pairs = []
    for left, one in enumerate(answers.sampled):
        for right in range(left + 1, len(answers.sampled)):
            other = answers.sampled[right]
            if other.prompt_index != one.prompt_index:
                break  # the samples of a prompt lie together
            if one.prompt_index < answers.training and answers.texts[left] != answers.texts[right]:
                pairs.append((one.prompt_index, left, right))
    return pairs


def _messages(config: OveroptimiseConfig, answers: Answers, pairs: int) -> Iterator[Event]:
    held = len(answers.prompts) - answers.training
    yield Message(
        level="info",
        text=f"{counted(pairs, 'pair')} of {counted(answers.training, 'prompt')} to label; proxies choose on "
        f"{held} others.",
    )
    if few := [count for count in config.counts() if count > pairs]:
        text = f"Left out, for want of pairs: proxies of {', '.join(map(str, few))} labels."
        yield Message(level="warning", text=text)


def within(scores_N: np.ndarray, group_N: np.ndarray) -> tuple[np.ndarray, float]:
    """Scores less the mean of their prompt, and their standard deviation about it."""
    score_N, groups = torch.from_numpy(scores_N).double(), torch.from_numpy(group_N)
    return group_advantages(score_N, groups, scale=False).numpy(), spread_within(score_N, groups)[0]


def labels(
    pool: Sequence[tuple[int, int, int]],
    gold_N: np.ndarray,
    group_N: np.ndarray,
    count: int,
    key: tuple[int, ...],
) -> Comparisons:
    """The first `count` pairs in an order of `key`, each won by chance as the gold scores say."""
    random = np.random.default_rng(key)
    chosen = random.permutation(len(pool))
    apart_N, spread = within(gold_N, group_N)
    luck = random.random(len(pool))
    rows = []
    for place in chosen[:count]:
        prompt, left, right = pool[place]
        chance = 1 / (1 + np.exp((apart_N[right] - apart_N[left]) / spread))
        won = float(luck[place] < chance)
        rows.append((prompt, left, right, won, 1 - won, 0.0))
    return stacked(sorted(rows))


def _rollouts(
    run: RunDir,
    answers: Answers,
    held_N: np.ndarray,
    gold_N: np.ndarray,
    proxies: Mapping[tuple[int, int], np.ndarray],
) -> Event:
    """The samples of the held-out prompts with every score, from which all curves can be computed again."""
    rows: list[dict[str, Any]] = []
    for n in np.flatnonzero(held_N):
        one = answers.sampled[n]
        said = {f"{count}/{replicate}": float(scores[n]) for (count, replicate), scores in proxies.items()}
        rows.append(
            {
                "step": 1,
                "prompt_id": answers.prompts[one.prompt_index].prompt_id,
                "sample_index": one.sample_index,
                "text": answers.texts[n],
                "score": float(gold_N[n]),
                "reward": float(gold_N[n]),
                "kl": None,
                "tokens": len(one.token_ids),
                "stopped": one.stopped,
                "components": json.dumps({"gold": float(gold_N[n]), **said}),
                "cut": False,
            }
        )
    return write_output(run, run.output_path("rollouts", 1), "rollouts", SAMPLED, rows)


def _curves(
    group_N: np.ndarray, gold_N: np.ndarray, proxies: Mapping[tuple[int, int], np.ndarray]
) -> Generator[Event, None, dict[str, float | int | str | None]]:
    """Metrics `gold_curves/LABELS/REPLICATE/{proxy,gold}` at step n, also of the gold model itself as
    0 labels; the summary says what the largest n is worth by each number of labels."""
    apart_N, spread = within(gold_N, group_N)
    truth_N = torch.from_numpy(apart_N / spread)
    everything = {}
    for key, scores_N in {(0, 0): gold_N, **proxies}.items():
        own_N, scale = within(scores_N, group_N)
        everything[key] = torch.from_numpy(own_N / scale if scale > 0 else own_N)
    summary: dict[str, float | int | str | None] = {"prompts": len(np.unique(group_N))}
    last: dict[int, list[float]] = {}
    sizes = subset_sizes(int(np.bincount(group_N).max()))
    groups = torch.from_numpy(group_N)
    for n in sizes:
        values = {}
        for (count, replicate), proxy_N in everything.items():
            name = f"gold_curves/{count}/{replicate}"
            values[f"{name}/proxy"] = curve(proxy_N, proxy_N, groups, n)
            values[f"{name}/gold"] = curve(proxy_N, truth_N, groups, n)
            if n == sizes[-1]:
                last.setdefault(count, []).append(values[f"{name}/gold"])
        yield Metrics(step=n, values=values)
    return summary | {f"gold_of_{count}_labels": float(np.mean(gains)) for count, gains in last.items()}


def curve(proxy_N: Tensor, value_N: Tensor, group_N: Tensor, n: int) -> float:
    """What the best of n by the proxy is worth, the mean over prompts."""
    worth = [best_of(proxy_N[group_N == group], value_N[group_N == group], n) for group in group_N.unique()]
    return sum(worth) / len(worth)
