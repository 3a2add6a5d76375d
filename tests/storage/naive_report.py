"""A small world of prompts, judgements and scores, and its report computed naively on plain lists."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations
from statistics import variance

from storage import artifacts, judgements, runs, scores
from storage.records import JudgedItem, NewJudgement, NewScore
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses

MODEL = "panda"
SEED, REPLICATES = 3, 40
Pair = tuple[str, str]


@dataclass
class World:
    """What was put into the store."""

    prompts: list[str]
    heldout: set[str]
    texts: dict[str, str]
    policy: dict[str, str]
    prompt_of: dict[str, str]
    score: dict[str, float]
    verdicts: dict[tuple[str, str], dict[Pair, int]]
    """By (prompt, annotator): 1 the first response of the pair (by id) is better, -1 worse, 0 a tie."""


def make_world(store: Store, seed: int = 0) -> World:
    with store.transaction():
        return fill(store, seed)


def fill(store: Store, seed: int) -> World:
    """Nine prompts with four responses of three policies, three annotators who tie and skip now and then."""
    rng = random.Random(seed)
    world = World([], set(), {}, {}, {}, {}, defaultdict(dict))
    for number in range(9):
        prompt = add_prompt(store, f"Prompt {number}?")
        world.prompts.append(prompt)
        ids = []
        for index in range(4):
            text = "x" * rng.choice([20, 21, 30, 60, 61, 90]) + f" {number} {index}"
            policy = f"policy {index % 3}"
            (response,) = add_responses(store, prompt, text, policy=policy)
            ids.append(response)
            world.texts[response], world.policy[response] = text, policy
            world.prompt_of[response] = prompt
            world.score[response] = rng.choice([-1.0, 0.0, 0.5, 1.0, 2.5]) + len(text) / 50
        for annotator in ("ana", "ben", "cem")[: 2 + number % 2]:
            ranks = {response: rng.randint(1, 3) for response in rng.sample(ids, rng.randint(2, 4))}
            record(store, prompt, annotator, ranks)
            for x, y in combinations(sorted(ranks), 2):
                told = ranks[y] - ranks[x]
                world.verdicts[prompt, annotator][x, y] = (told > 0) - (told < 0)
    world.heldout = set(world.prompts[::2])
    return world


def record(store: Store, prompt: str, annotator: str, ranks: dict[str, int]) -> None:
    items = tuple(JudgedItem(r, rank, None, n) for n, (r, rank) in enumerate(ranks.items()))
    judgements.record(store, NewJudgement(prompt, annotator, "ranking", items))


def train(store: Store, world: World, *, splits: bool = True, **config: str) -> None:
    """A run that trained the model, its splits and its scores."""
    runs.insert_run(store, "reward-1", "reward", {"name": MODEL, **config})
    model = artifacts.insert(store, run_id="reward-1", kind="reward_model", name=MODEL, path="/m")
    scores.upsert(store, [NewScore(r, model, s, "torch-float32") for r, s in world.score.items()])
    if splits:
        store.cursor().executemany(
            "INSERT INTO run_prompts VALUES ('reward-1', ?, ?)",
            [(p, "heldout" if p in world.heldout else "train") for p in world.prompts],
        )


# -- the naive computation ------------------------------


@dataclass
class Verdict:
    prompt: str
    better: str
    worse: str
    tied: bool
    correct: float
    longer: float
    policy: float
    loss: float
    difference: float


def half(a: float, b: float) -> float:
    return 1.0 if a > b else 0.0 if a < b else 0.5


def settled(world: World, prompts: set[str], annotators: tuple[str, ...] = ()) -> list[Verdict]:
    """The pairs of these prompts by what most annotators say; `policy` is filled in later."""
    votes: dict[tuple[str, Pair], Counter[int]] = defaultdict(Counter)
    for (prompt, annotator), said in world.verdicts.items():
        if prompt in prompts and (not annotators or annotator in annotators):
            for pair, verdict in said.items():
                votes[prompt, pair][verdict] += 1
    made = []
    for (prompt, (x, y)), count in votes.items():
        winner = max((1, -1), key=lambda v: count[v])
        tied = count[winner] <= max(count[0], count[-winner])
        better, worse = (x, y) if winner == 1 else (y, x)
        difference = world.score[better] - world.score[worse]
        longer = half(len(world.texts[better]), len(world.texts[worse]))
        loss = math.log(1 + math.exp(-difference))
        made.append(Verdict(prompt, better, worse, tied, half(difference, 0), longer, 0.5, loss, difference))
    return made


def with_policy(world: World, pairs: list[Verdict], trained: list[Verdict]) -> list[Verdict]:
    """Fill in the baseline that knows which policy won more often on the trained pairs."""
    won: dict[str, list[float]] = defaultdict(list)
    for pair in trained:
        a, b = world.policy[pair.better], world.policy[pair.worse]
        if a != b:
            won[a].append(0.5 if pair.tied else 1.0)
            won[b].append(0.5 if pair.tied else 0.0)
    share = {policy: sum(values) / len(values) for policy, values in won.items()}
    for pair in pairs:
        a, b = world.policy[pair.better], world.policy[pair.worse]
        pair.policy = half(share[a], share[b]) if a in share and b in share else 0.5
    return pairs


def baseline_loss(trained: list[Verdict], measured: list[Verdict], name: str) -> list[float]:
    known = [getattr(p, name) for p in trained if not p.tied and getattr(p, name) != 0.5]
    right = (sum(known) + 1) / (len(known) + 2)
    by_value = {1.0: -math.log(right), 0.0: -math.log(1 - right), 0.5: math.log(2)}
    return [by_value[getattr(p, name)] for p in measured]


def expected(world: World, heldout: set[str], training: set[str]) -> dict[str, dict[str, list[float]]]:
    """Figure → prompt → the values that are averaged."""
    trained = settled(world, training)
    pairs = [p for p in settled(world, heldout) if not p.tied]
    with_policy(world, trained, trained), with_policy(world, pairs, trained)
    made: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    longer, policy = baseline_loss(trained, pairs, "longer"), baseline_loss(trained, pairs, "policy")
    for pair, long_loss, policy_loss in zip(pairs, longer, policy, strict=True):
        lengths = sorted([len(world.texts[pair.better]), len(world.texts[pair.worse])])
        values = {
            "accuracy": pair.correct,
            "log_loss": pair.loss,
            "longer": pair.longer,
            "longer_log_loss": long_loss,
            "policy": pair.policy,
            "policy_log_loss": policy_loss,
            "over_longer": pair.correct - pair.longer,
            "over_policy": pair.correct - pair.policy,
        }
        values |= {"longer_wins": pair.correct} if pair.longer == 1 else {}
        values |= {"longer_loses": pair.correct} if pair.longer == 0 else {}
        values |= {"length_matched": pair.correct} if lengths[0] >= 0.9 * lengths[1] else {}
        for name, value in values.items():
            made[name][pair.prompt].append(value)
    for prompt in heldout:
        if (tau := naive_tau(world, prompt)) is not None:
            made["tau"][prompt].append(tau)
        for name, shares in people(world, prompt).items():
            if shares:
                made[name][prompt] += shares
    return made


def naive_tau(world: World, prompt: str) -> float | None:
    pairs = settled(world, {prompt})
    concordant = sum(not p.tied and p.difference > 0 for p in pairs)
    discordant = sum(not p.tied and p.difference < 0 for p in pairs)
    by_people, by_score = sum(not p.tied for p in pairs), sum(p.difference != 0 for p in pairs)
    scale = math.sqrt(by_people * by_score)
    return (concordant - discordant) / scale if scale else None


def people(world: World, prompt: str) -> dict[str, list[float]]:
    """Agreement of two, and of one with most of the others, pair by pair."""
    said = {a: v for (p, a), v in world.verdicts.items() if p == prompt}
    agreement = [
        1 - abs(said[a][pair] - said[b][pair]) / 2
        for a, b in combinations(sorted(said), 2)
        for pair in said[a].keys() & said[b].keys()
    ]
    person = []
    for annotator, verdicts in said.items():
        for pair, verdict in verdicts.items():
            rest = Counter(v[pair] for a, v in said.items() if a != annotator and pair in v)
            top = max((1, -1), key=lambda v: rest[v])
            if rest[top] > max(rest[0], rest[-top]):
                person.append(1 - abs(verdict - top) / 2)
    return {"agreement": agreement, "person": person}


def naive_interval(name: str, values: dict[str, list[float]], prompts: list[str]) -> tuple[float, float]:
    """Percentile bootstrap over prompts with the draws that the query makes, and never narrower than
    Agresti's and Coull's interval."""
    found = []
    for replicate in range(REPLICATES):
        drawn = [prompts[draw(replicate, place) % len(prompts)] for place in range(len(prompts))]
        pooled = [value for prompt in drawn for value in values.get(prompt, [])]
        if pooled:
            found.append(sum(pooled) / len(pooled))
    low, high = quantile(found, 0.025), quantile(found, 0.975)
    if name.endswith("log_loss"):
        return low, high
    least = -1 if name.startswith("over_") or name == "tau" else 0
    pooled = [value for said in values.values() for value in said]
    mean, n = sum(pooled) / len(pooled), len(values)
    middle = (n * mean + 2 * least + 2) / (n + 4)
    # as many prompts as there are, with the variance that makes the means of resamples vary as they do
    squares = (
        n * (n * variance(found) + (mean - middle) ** 2) + 2 * (1 - middle) ** 2 + 2 * (least - middle) ** 2
    )
    reach = 1.96 * math.sqrt(squares / (n + 4) / (n + 4))
    return min(low, max(least, middle - reach)), max(high, min(1, middle + reach))


def draw(replicate: int, place: int) -> int:
    digest = hashlib.md5(f"{SEED}/{replicate}/{place}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[8:], "little")


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])
