"""Over-optimisation against a gold reward model (Gao, Schulman and Hilton, arXiv 2210.10760).

1. the policy answers every prompt N times; the gold reward model scores all of it
2. pairs of answers to training prompts are labelled by it: a is preferred with σ(r_a − r_b), the scores in
   standard deviations within a prompt
3. proxies, ridge heads on the policy's frozen trunk, learn 50, 100, … of these labels, several times each
4. best of n by every proxy on the held-out prompts: what the proxy thinks of its choice, and what it is worth
5. a policy learns from every proxy on the held-out prompts (`overoptimise_policies`): the same at each step

A proxy is its head alone and, if asked for, a conservative ensemble (Coste et al., arXiv 2310.02743).
All figures of best of n are of the same samples, every subset of n counted (`objectives.best_of`).  Scores of
proxy and gold are in standard deviations within a prompt from the mean of the first policy's samples.  The
departures from the paper are that proxies differ in their labels, not in their size, and that the policy
learns on the prompts on which best of n chooses, which no proxy has seen.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from engine.errors import UsageError
from engine.frozen.comparisons import Comparisons, stacked
from engine.frozen.fit import FitSettings, fit_head
from engine.jobs.overoptimise_policies import learned
from engine.jobs.overoptimise_proxies import Answers, Held, Proxy, ProxyKey, within
from engine.models.catalogue import resolving
from engine.models.device import resolve_device
from engine.models.features import FEATURE_TOKENS, default_layers, depth, features_of
from engine.models.policy import load_policy
from engine.models.reward_model import RewardModel, load_reward_model, with_head
from engine.models.trunk import Trunk
from engine.objectives.best_of import best_of, subset_sizes
from engine.policy_learning.best_of_n import SAMPLED
from engine.policy_learning.prompts import read_prompts
from engine.policy_learning.record import sample_row
from engine.policy_learning.rollout import draw
from engine.protocol.configs import OveroptimiseConfig
from engine.protocol.configs.overoptimise import PLAIN
from engine.protocol.events import Event, Finished, Message, Metrics, Progress
from engine.protocol.rundir import RunDir
from engine.reward_learning.frozen.features import PARTS, load_trunk
from engine.rollout import response_text
from engine.scoring.head import RewardHead
from engine.tables import write_output, write_splits
from engine.text import Tokeniser
from engine.training.checkpoint import stable_hash
from engine.training.guards import MicroBatchSize
from engine.wording import counted


def run(config: OveroptimiseConfig, directory: RunDir) -> Iterator[Event]:
    """The job.  Raises UsageError without usable prompts, or where the gold scores do not differ."""
    folder = yield from resolving(directory.model("policy").folder)
    gold_folder = yield from resolving(directory.model("gold").folder)
    tokeniser = Tokeniser.from_folder(folder)
    answers = yield from _answers(config, directory, folder, tokeniser)
    gold = load_reward_model(gold_folder, config.dtype, resolve_device(config.device))
    gold_N = yield from _scores(gold, answers, "gold scores")
    if within(gold_N, answers.groups)[1] <= 0:
        raise UsageError(f"{config.gold} gives all samples of a prompt one score; take another gold model.")
    judge, judge_N = gold, gold_N
    if config.judge:
        judge_folder = yield from resolving(directory.model("judge").folder)
        judge = load_reward_model(judge_folder, config.dtype, resolve_device(config.device))
        judge_N = yield from _scores(judge, answers, "the judge's scores")
    trunk = load_trunk(folder, config, tokeniser)
    layers, features_N_F = yield from _features(trunk, tokeniser, answers)
    held = Held.of(answers, gold_N, judge_N, features_N_F)
    proxies: dict[ProxyKey, Proxy] = {}
    yield from _messages(config, answers)
    for count, replicate, head in _heads(config, answers, gold_N, features_N_F, layers):
        assert isinstance(trunk.module, PreTrainedModel)
        scorer = with_head(trunk.module, trunk, tokeniser, head)
        for variant in config.variants():
            proxies[ProxyKey(count, replicate, variant)] = Proxy.of(variant, scorer, gold, held)
        yield Progress(stage="proxies", done=count, total=config.counts()[-1], unit="labels")
    yield _rollouts(directory, held, proxies)
    summary = yield from _curves(held, proxies)
    if config.steps:
        summary |= yield from learned(config, directory, folder, held, proxies, judge)
    yield Finished(summary=summary)


def _heads(
    config: OveroptimiseConfig,
    answers: Answers,
    gold_N: np.ndarray,
    features_N_F: np.ndarray,
    layers: tuple[int, ...],
) -> Iterator[tuple[int, int, RewardHead]]:
    """(labels, replicate, head) of every proxy.  Raises UsageError where there is none for want of pairs."""
    pool = pairs_of(answers)
    if len(pool) < config.counts()[0]:
        raise UsageError(
            f"There are {counted(len(pool), 'pair')} to label, fewer than {config.counts()[0]}; take more "
            "prompts or samples, or fewer labels."
        )
    settings = FitSettings(members=config.members if config.conservative else 0, seed=config.seed)
    for count in config.counts():
        for replicate in range(config.replicates if count <= len(pool) else 0):
            labelled = labels(pool, gold_N, answers.groups, count, (config.seed, replicate))
            head = fit_head(features_N_F, labelled, layers=layers, parts=PARTS, settings=settings)
            yield count, replicate, head


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


def _scores(model: RewardModel, answers: Answers, stage: str) -> Generator[Event, None, np.ndarray]:
    """[N] scores of all samples by a reward model."""
    tokeniser = model.tokeniser
    scores_N = np.zeros(len(answers.sampled))
    done = 0
    for places, scores_n_C, _ in model.measured(answers.encoded(tokeniser)):
        scores_N[places] = scores_n_C[:, 0].double().numpy()
        done += len(places)
        yield Progress(stage=stage, done=done, total=len(scores_N), unit="responses")
    return scores_N


def _features(
    trunk: Trunk, tokeniser: Tokeniser, answers: Answers
) -> Generator[Event, None, tuple[tuple[int, ...], np.ndarray]]:
    layers = default_layers(depth(trunk.module))
    pairs = answers.encoded(tokeniser)
    by_place: dict[int, np.ndarray] = {}
    for places, features_n_F in features_of(trunk, pairs, layers, PARTS, FEATURE_TOKENS):
        by_place.update(zip(places, features_n_F.numpy(), strict=True))
        yield Progress(stage="features", done=len(by_place), total=len(pairs), unit="responses")
    return layers, np.stack([by_place[place] for place in range(len(pairs))])


def pairs_of(answers: Answers) -> list[tuple[int, int, int]]:
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


def _messages(config: OveroptimiseConfig, answers: Answers) -> Iterator[Event]:
    held, pairs = len(answers.prompts) - answers.training, len(pairs_of(answers))
    yield Message(
        level="info",
        text=f"{counted(pairs, 'pair')} of {counted(answers.training, 'prompt')} to label; proxies choose on "
        f"{held} others.",
    )
    if few := [count for count in config.counts() if count > pairs]:
        text = f"Left out, for want of pairs: proxies of {', '.join(map(str, few))} labels."
        yield Message(level="warning", text=text)


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


def _rollouts(run: RunDir, held: Held, proxies: Mapping[ProxyKey, Proxy]) -> Event:
    """The samples of the held-out prompts with every score, from which all curves can be computed again."""
    rows: list[dict[str, Any]] = []
    for n, one in enumerate(held.sampled):
        said = {str(way): float(proxy.scores[n]) for way, proxy in proxies.items()}
        gold = float(held.gold_scores[n])
        row = sample_row(
            1,
            held.ids[n],
            one,
            held.texts[n],
            score=gold,
            reward=gold,
            kl=None,
            components={"gold": gold, **said},
        )
        rows.append(row | {"cut": False})
    return write_output(run, run.output_path("rollouts", 1), "rollouts", SAMPLED, rows)


def _curves(
    held: Held, proxies: Mapping[ProxyKey, Proxy]
) -> Generator[Event, None, dict[str, float | int | str | None]]:
    """The metrics of best of n at step n, also of the gold model itself as 0 labels; the summary says what
    the largest n is worth by each number of labels."""
    group_N = held.groups
    truth_N, length_N = held.gold.of(held.gold_scores, held.ids), held.lengths
    everything = {ProxyKey(0, 0): truth_N}
    for way, proxy in proxies.items():
        everything[way] = proxy.yardstick.of(proxy.scores, held.ids)
    summary: dict[str, float | int | str | None] = {"prompts": len(np.unique(group_N))}
    last: dict[int, list[float]] = {}
    sizes = subset_sizes(int(np.bincount(group_N).max()))
    groups = torch.from_numpy(group_N)
    for n in sizes:
        values = {}
        for way, proxy_N in everything.items():
            figures = {"proxy": proxy_N, "gold": truth_N, "length": length_N, "wins": held.wins}
            for figure, value_N in figures.items():
                values[way.metric("bon", figure)] = curve(proxy_N, value_N, groups, n)
            if n == sizes[-1] and way.variant == PLAIN:
                last.setdefault(way.labels, []).append(values[way.metric("bon", "gold")])
        yield Metrics(step=n, values=values)
    return summary | {f"gold_of_{count}_labels": float(np.mean(gains)) for count, gains in last.items()}


def curve(proxy_N: Tensor, value_N: Tensor, group_N: Tensor, n: int) -> float:
    """What the best of n by the proxy is worth, the mean over prompts."""
    worth = [best_of(proxy_N[group_N == group], value_N[group_N == group], n) for group in group_N.unique()]
    return sum(worth) / len(worth)
