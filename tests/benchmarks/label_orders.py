"""Data sets of judged pairs, and the orders in which they may be asked about, for `label_efficiency`.

Shapes: `M` pairs of a data set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

TOKENS = 160
"""At most of each of HH's conversations, the end of it."""
STEP = 10
"""Labels that are asked for at a time."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


def chance(difference: np.ndarray) -> np.ndarray:
    """σ(difference), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(difference, dtype=np.float64))))


def entropy(chance_P: np.ndarray) -> np.ndarray:
    """−p ln p − (1 − p) ln(1 − p), in nats; 0 at 0 and 1."""
    p = np.clip(chance_P, 1e-12, 1.0 - 1e-12)
    return np.asarray(-p * np.log(p) - (1.0 - p) * np.log1p(-p))


@dataclass(frozen=True)
class Pool:
    """M pairs of one data set."""

    prompt: np.ndarray  # a number for each prompt
    votes: np.ndarray  # [M, 2] people who prefer the first response, the second
    products: np.ndarray  # [M, M] inner products of the pairs' differences of features
    one_person: bool = False

    @property
    def truth(self) -> np.ndarray:
        """1 where most prefer the first response of the pair, else 0."""
        return np.asarray(self.votes[:, 0] > self.votes[:, 1], dtype=float)

    def labels(self, rng: np.random.Generator) -> np.ndarray:
        """What is told when a pair is asked about."""
        if not self.one_person:
            return self.truth
        share = self.votes[:, 0] / self.votes.sum(axis=1)
        return np.asarray(rng.random(len(share)) < share, dtype=float)


def pool_of(
    pairs: Sequence[tuple[str, str, str, int, int]], features: np.ndarray, rows: dict[tuple[str, str], int]
) -> Pool:
    """Squash the features as the frozen head does and take the products of all pairs' differences."""
    number = {prompt: index for index, prompt in enumerate(sorted({pair[0] for pair in pairs}))}
    centred = features - features.mean(axis=0)
    squashed = np.tanh(centred / np.maximum(features.std(axis=0), 1e-6))
    first = np.array([rows[prompt, text] for prompt, text, *_ in pairs])
    second = np.array([rows[prompt, text] for prompt, _, text, *_ in pairs])
    difference = (squashed[first] - squashed[second]).astype(np.float64)
    return Pool(
        np.array([number[pair[0]] for pair in pairs]),
        np.array([pair[3:5] for pair in pairs]),
        difference @ difference.T / difference.shape[1],
    )


def pools(model: str, folder: Path | None, data: Path, hh: Path, most: int) -> dict[str, Pool]:
    """Every data set whose file is there."""
    from tests.benchmarks.unseen import features, pandalm, transcripts

    read = {"pandalm": pandalm(data)}
    if hh.exists():
        read["hh"] = transcripts(hh)[:most]
    pairs, found = {}, {}
    for name, rows in read.items():
        responses = list(dict.fromkeys((row[0], text) for row in rows for text in row[1:3]))
        file = None if folder is None else folder / f"{name}.npz"
        found[name] = (responses, features(responses, model, file, TOKENS if name == "hh" else None))
        pairs[name] = [row[:5] for row in rows if row[3] != row[4] and max(row[3:6]) > row[5]]
    if "hh" in read:
        pairs["both"] = pairs["pandalm"] + pairs["hh"]
        responses = found["pandalm"][0] + found["hh"][0]
        found["both"] = (responses, np.concatenate([found["pandalm"][1], found["hh"][1]]))
    made = {}
    for name, rows in pairs.items():
        responses, values = found[name]
        made[name] = pool_of(rows, values, {key: place for place, key in enumerate(responses)})
    one = made["pandalm"]
    return made | {"one person": Pool(one.prompt, one.votes, one.products, one_person=True)}


# -- orders ------------------------------


@dataclass(frozen=True)
class Moment:
    """What an order may look at; pairs in the order in which they came."""

    pool: Pool
    labelled: np.ndarray
    waiting: np.ndarray
    dual: np.ndarray
    strength: float
    rng: np.random.Generator

    @cached_property
    def chances(self) -> np.ndarray:
        """Of the first response of every pair, [M]."""
        return chance(self.pool.products[:, self.labelled] @ self.dual)

    @cached_property
    def covariance(self) -> np.ndarray:
        """Posterior covariance of the margins of all pairs, [M, M], by Laplace's method (Woodbury)."""
        products, known = self.pool.products, self.labelled
        p = self.chances[known]
        inner = products[np.ix_(known, known)] + np.diag(self.strength / np.maximum(p * (1 - p), 1e-6))
        cross = products[known]
        return np.asarray((products - cross.T @ np.linalg.solve(inner, cross)) / self.strength)


def best(now: Moment, worth: np.ndarray) -> np.ndarray:
    """The waiting pairs of most worth, each of another prompt."""
    ordered = now.waiting[np.argsort(-worth, kind="stable")]
    _, first = np.unique(now.pool.prompt[ordered], return_index=True)
    return ordered[np.sort(first)[:STEP]]


def covering(now: Moment, worth: np.ndarray) -> np.ndarray:
    """Pairs of the prompts with the fewest labels first, among them by `worth`, as the queue does."""
    prompt = now.pool.prompt
    labels = np.bincount(prompt[now.labelled], minlength=prompt.max() + 1)[prompt[now.waiting]]
    place = np.empty(len(worth))
    place[np.argsort(worth, kind="stable")] = np.linspace(0.0, 0.5, len(worth))
    return best(now, place - labels)


def one_by_one(now: Moment, gain: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """A batch in which each pair is chosen knowing those before: gain(covariance, curvature) of all pairs."""
    covariance, curvature = now.covariance.copy(), now.chances * (1 - now.chances)
    free = np.zeros(len(curvature), dtype=bool)
    free[now.waiting] = True
    chosen: list[int] = []
    while len(chosen) < STEP and free.any():
        pair = int(np.argmax(np.where(free, gain(covariance, curvature), -np.inf)))
        chosen.append(pair)
        free &= now.pool.prompt != now.pool.prompt[pair]
        column = covariance[:, pair].copy()
        covariance -= np.outer(column, column) / (1 / curvature[pair] + column[pair])
    return np.array(chosen)


def by_random(now: Moment) -> np.ndarray:
    """Any."""
    return best(now, now.rng.random(len(now.waiting)))


def by_age(now: Moment) -> np.ndarray:
    """As they came."""
    return best(now, -now.waiting.astype(float))


def by_agreement(now: Moment) -> np.ndarray:
    """Nobody disagrees about a pair without a label: prompts with the fewest labels, as they came."""
    return covering(now, -now.waiting.astype(float))


def informed(now: Moment) -> tuple[np.ndarray, np.ndarray]:
    """Chance and variance of the waiting pairs."""
    return now.chances[now.waiting], np.diag(now.covariance)[now.waiting]


def by_disagreement(now: Moment) -> np.ndarray:
    """Mutual information of verdict and head (Houlsby et al., 2011), the margin being normal."""
    p, variance = informed(now)
    margin = np.log(p / (1 - p))
    drawn = chance(margin + np.sqrt(np.maximum(variance, 0.0)) * NODES[:, None])
    share = (WEIGHTS / WEIGHTS.sum())[:, None]
    return covering(now, entropy((share * drawn).sum(axis=0)) - (share * entropy(drawn)).sum(axis=0))


def by_determinant(now: Moment) -> np.ndarray:
    """Pairs in directions that no labelled pair has told of (Chaloner and Verdinelli, 1995, §4)."""
    p, variance = informed(now)
    return covering(now, np.log1p(p * (1 - p) * variance))


def by_determinant_in_turn(now: Moment) -> np.ndarray:
    """The same, knowing the pairs of the batch already, whatever their prompts: diversity."""
    return one_by_one(now, lambda covariance, curvature: curvature * np.diag(covariance))


def by_variance_of_all(now: Moment) -> np.ndarray:
    """What takes most off the variance of all pairs' chances, knowing the batch: I-optimality."""

    def gain(covariance: np.ndarray, curvature: np.ndarray) -> np.ndarray:
        return np.asarray((curvature @ covariance**2) / (1 / curvature + np.diag(covariance)))

    return one_by_one(now, gain)


def by_doubt(now: Moment) -> np.ndarray:
    """Pairs whose chance is nearest to one half."""
    return best(now, entropy(now.chances[now.waiting]))


ORDERS: dict[str, Callable[[Moment], np.ndarray]] = {
    "random": by_random,
    "oldest": by_age,
    "least_agreed": by_agreement,
    "disagreement": by_disagreement,
    "d_optimality": by_determinant,
    "d_optimality, in turn": by_determinant_in_turn,
    "i_optimality, in turn": by_variance_of_all,
    "doubt": by_doubt,
}
"""Which waiting pairs come next."""
