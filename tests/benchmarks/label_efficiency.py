"""How many labels each order of the queue needs for the same held-out log-loss, on PandaLM's judgements.

The judgements are replayed from the file: majority of three people, ties dropped.  A label is one pair of
responses.  Every order starts from the same 20 random labels and then asks for 10 at a time, each of another
prompt, the head being fitted anew in between, as the workbench does while a person judges.  Every fifth
prompt is held out, beginning at another one with each run; prompts arrive in a shuffled order.

Curves are averaged over the runs and made falling.  An order's ratio is the number of labels that random
needs over the number that it needs for the same log-loss, the geometric mean over the log-losses that random
has with 15, 25, 50 and 75 % of the pool; with a bootstrap interval over the runs, for the curves are flat.
`ratio` is that of the best order.

The features (last token and response mean at two layers of the frozen trunk) are computed once; with
`--features FILE.npz` they are read from the file, or written there when it does not exist.
"""

from __future__ import annotations

import collections
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.frozen.information import chance, determinant_gain, disagreement
from engine.scoring.head import FeaturePart
from tests.benchmarks.common import PEERS, parser, report, say, versions

DATA = PEERS.parent / "data" / "pandalm_pairs.jsonl"
DEPTHS = (0.5, 1.0)
"""Layers that are read, as shares of the depth."""
PARTS: tuple[FeaturePart, ...] = ("last", "mean")
FIRST, STEP, MEMBERS = 20, 10, 8
STRENGTHS = (0.03, 0.1, 0.25, 0.7, 2.0)
CHOOSE_EVERY = 20
"""Labels after which the strength is cross-validated anew, over the labelled prompts."""
RESAMPLES = 400
LEVELS = (0.15, 0.25, 0.5, 0.75)
"""Shares of the pool at which random's log-loss is the goal of the others."""


@dataclass(frozen=True)
class Pool:
    """All M pairs with a majority, in the order of the file."""

    prompt: np.ndarray  # a number for each prompt
    win: np.ndarray  # 1 where the majority prefers the first response of the row, else 0
    products: np.ndarray  # [M, M] inner products of the pairs' differences of features


@dataclass(frozen=True)
class Fit:
    """A head and its ensemble: wᵀd of a pair is the sum of its products with labelled pairs times these."""

    dual: np.ndarray
    members: np.ndarray
    strength: float


def read_pairs(path: Path) -> tuple[list[tuple[str, str, str, int]], list[tuple[str, str]]]:
    """(prompt, first, second, 1 where the first is preferred) and the distinct responses."""
    pairs = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        label, votes = collections.Counter([row[f"annotator_{n}"] for n in (1, 2, 3)]).most_common(1)[0]
        if label != "tie" and votes >= 2 and row["response_a"] != row["response_b"]:
            pairs.append((row["prompt"], row["response_a"], row["response_b"], int(label == "a")))
    responses = dict.fromkeys((prompt, text) for prompt, *both, _ in pairs for text in both)
    return pairs, list(responses)


def features_of(responses: list[tuple[str, str]], model: str, file: Path | None) -> np.ndarray:
    """Features [N, F] of the responses, read from `file` or computed and written there."""
    if file is not None and file.exists():
        held = np.load(file, allow_pickle=False)
        rows = {key: row for row, key in enumerate(zip(held["prompts"], held["texts"], strict=True))}
        found = held["feats"]
        if found.ndim == 4:  # [N, layers, parts, D], all layers
            layers = [round(depth * (found.shape[1] - 1)) for depth in DEPTHS]
            found = np.concatenate([found[:, layer, part] for part in range(2) for layer in layers], axis=1)
        return np.asarray(found[[rows[key] for key in responses]], dtype=np.float32)
    found = computed_features(responses, model)
    if file is not None:
        prompts, texts = zip(*responses, strict=True)
        np.savez(file, prompts=np.array(prompts), texts=np.array(texts), feats=found)
    return found


def prepare(
    pairs: list[tuple[str, str, str, int]], features_N_F: np.ndarray, rows: dict[tuple[str, str], int]
) -> Pool:
    """Squash the features as the frozen head does and take the products of all pairs' differences."""
    order = {prompt: index for index, prompt in enumerate(sorted({pair[0] for pair in pairs}))}
    centred = features_N_F - features_N_F.mean(axis=0)
    squashed = np.tanh(centred / np.maximum(features_N_F.std(axis=0), 1e-6))
    first = np.array([rows[prompt, text] for prompt, text, _, _ in pairs])
    second = np.array([rows[prompt, text] for prompt, _, text, _ in pairs])
    difference = (squashed[first] - squashed[second]).astype(np.float64)
    return Pool(
        prompt=np.array([order[pair[0]] for pair in pairs]),
        win=np.array([float(pair[3]) for pair in pairs]),
        products=difference @ difference.T / difference.shape[1],
    )


def fit_dual(products: np.ndarray, win: np.ndarray, weight: np.ndarray, strength: float) -> np.ndarray:
    """Minimise Σ weight · −ln σ(±wᵀd) + ½·strength·‖w‖², w = Σ dual · d, by Newton's method."""
    dual = np.zeros(len(win))
    for _ in range(30):
        margin = products @ dual
        p = chance(margin)
        curve = np.maximum(weight * p * (1 - p), 1e-6)
        target = margin + weight * (win - p) / curve
        new = np.linalg.solve(products + np.diag(strength / curve), target)
        moved, dual = np.abs(products @ (new - dual)).max(), new
        if moved < 1e-3:
            break
    return dual


def fitted(pool: Pool, labelled: np.ndarray, before: Fit | None, rng: np.random.Generator) -> Fit:
    """The head of the labelled pairs, and an ensemble from resampled prompts."""
    products, win = pool.products[np.ix_(labelled, labelled)], pool.win[labelled]
    prompts, which = np.unique(pool.prompt[labelled], return_inverse=True)
    if before is None or (len(labelled) - FIRST) % CHOOSE_EVERY == 0:
        strength = cross_validated(products, win, which, rng)
    else:
        strength = before.strength
    draws = rng.multinomial(len(prompts), np.full(len(prompts), 1 / len(prompts)), MEMBERS)
    members = []
    for draw in draws[:, which]:
        kept, member = np.flatnonzero(draw), np.zeros(len(win))
        member[kept] = fit_dual(products[np.ix_(kept, kept)], win[kept], draw[kept].astype(float), strength)
        members.append(member)
    dual = fit_dual(products, win, np.ones(len(win)), strength)
    return Fit(dual, np.stack(members), strength)


def cross_validated(
    products: np.ndarray, win: np.ndarray, prompt: np.ndarray, rng: np.random.Generator
) -> float:
    """The strength with the least log-loss on labelled prompts that were left out."""
    fold = (rng.permutation(prompt.max() + 1) % 5)[prompt]
    margins = {}
    for strength in STRENGTHS:
        margin = np.zeros(len(win))
        for part in range(5):
            kept, out = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
            dual = fit_dual(products[np.ix_(kept, kept)], win[kept], np.ones(len(kept)), strength)
            margin[out] = products[np.ix_(out, kept)] @ dual
        margins[strength] = margin
    return min(margins, key=lambda strength: float(losses(margins[strength], win).mean()))


def losses(margin: np.ndarray, win: np.ndarray) -> np.ndarray:
    """−ln of the chance given to the majority, in nats."""
    return np.logaddexp(0.0, np.where(win > 0, -margin, margin))


@dataclass(frozen=True)
class Moment:
    """What an order may look at."""

    pool: Pool
    fit: Fit
    labelled: np.ndarray
    waiting: np.ndarray
    rng: np.random.Generator


def by_random(now: Moment) -> np.ndarray:
    """Any."""
    return now.rng.random(len(now.waiting))


def by_age(now: Moment) -> np.ndarray:
    """Prompt by prompt, as they came."""
    return -now.waiting.astype(float)


def covering(now: Moment, worth: np.ndarray) -> np.ndarray:
    """Pairs of the prompts with the fewest labels first, among them by `worth`, as the queue does."""
    prompt = now.pool.prompt
    labels = np.bincount(prompt[now.labelled], minlength=prompt.max() + 1)[prompt[now.waiting]]
    place = np.empty(len(worth))
    place[np.argsort(worth, kind="stable")] = np.linspace(0.0, 0.5, len(worth))
    return place - labels


def by_agreement(now: Moment) -> np.ndarray:
    """Nobody disagrees about a pair without a label: prompts with the fewest labels, as they came."""
    return covering(now, by_age(now))


def by_disagreement(now: Moment) -> np.ndarray:
    """Pairs on which the heads of the ensemble disagree."""
    products = now.pool.products[np.ix_(now.labelled, now.waiting)]
    return covering(now, disagreement(now.fit.members @ products))


def by_determinant(now: Moment) -> np.ndarray:
    """Pairs in directions that no labelled pair has told of."""
    products, known, asked = now.pool.products, now.labelled, now.waiting
    p_n = chance(products[np.ix_(known, known)] @ now.fit.dual)
    cross = products[np.ix_(known, asked)]
    inner = products[np.ix_(known, known)] + np.diag(now.fit.strength / (p_n * (1 - p_n)))
    explained = (cross * np.linalg.solve(inner, cross)).sum(axis=0)
    variance = (products[asked, asked] - explained) / now.fit.strength
    return covering(now, determinant_gain(chance(cross.T @ now.fit.dual), variance))


ORDERS: dict[str, Callable[[Moment], np.ndarray]] = {
    "random": by_random,
    "oldest": by_age,
    "least_agreed": by_agreement,
    "disagreement": by_disagreement,
    "d_optimality": by_determinant,
}
"""The worth of the waiting pairs; more comes first."""


def arrived(pool: Pool, rng: np.random.Generator) -> Pool:
    """The pool as if its prompts had come in another order, the pairs of each together and shuffled."""
    age = rng.permutation(pool.prompt.max() + 1)[pool.prompt]
    order = np.lexsort((rng.random(len(age)), age))
    return Pool(pool.prompt[order], pool.win[order], pool.products[np.ix_(order, order)])


def replay(
    pool: Pool, order: Callable[[Moment], np.ndarray], offset: int, seed: int
) -> list[tuple[int, float, float]]:
    """(labels, held-out log-loss, accuracy) after every step."""
    rng = np.random.default_rng([seed, offset])
    pool = arrived(pool, rng)
    held_out = pool.prompt % 5 == offset
    test, waiting = np.flatnonzero(held_out), np.flatnonzero(~held_out)
    stop = int(max(LEVELS) * len(waiting)) + STEP
    labelled = np.sort(rng.choice(waiting, FIRST, replace=False))
    waiting = np.setdiff1d(waiting, labelled)
    curve: list[tuple[int, float, float]] = []
    fit: Fit | None = None
    while len(labelled) <= stop:
        fit = fitted(pool, labelled, fit, rng)
        margin, win = pool.products[np.ix_(test, labelled)] @ fit.dual, pool.win[test]
        accuracy = np.where(margin == 0, 0.5, (margin > 0) == (win > 0)).mean()
        curve.append((len(labelled), float(losses(margin, win).mean()), float(accuracy)))
        worth = order(Moment(pool, fit, labelled, waiting, rng))
        best = waiting[np.argsort(-worth, kind="stable")]
        _, first = np.unique(pool.prompt[best], return_index=True)
        chosen = best[np.sort(first)[:STEP]]  # each of another prompt
        labelled, waiting = np.append(labelled, chosen), np.setdiff1d(waiting, chosen)
    return curve


def falling(values: np.ndarray) -> np.ndarray:
    """The nearest curve that never rises (pool adjacent violators): more labels do not make a fit worse."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] < mean:
            before, count = blocks.pop()
            mean, size = (mean * size + before * count) / (size + count), size + count
        blocks.append((mean, size))
    return np.concatenate([np.full(size, mean) for mean, size in blocks])


def labels_needed(labels: np.ndarray, log_loss: np.ndarray, goal: float) -> float:
    """Labels after which a falling curve is at the goal; infinite when it never is."""
    below = np.flatnonzero(log_loss <= goal)
    if not len(below):
        return float("inf")
    at = int(below[0])
    if at == 0:
        return float(labels[0])
    share = (log_loss[at - 1] - goal) / max(log_loss[at - 1] - log_loss[at], 1e-12)
    return float(labels[at - 1] + share * (labels[at] - labels[at - 1]))


Curves = dict[str, np.ndarray]
"""By order: labels, log-loss and accuracy of every run and step, [runs, steps, 3]."""


def needed(curves: Curves, runs: np.ndarray, level: float) -> tuple[float, dict[str, float]]:
    """Random's mean log-loss over `runs` at a share of the pool, and the labels each order needs for it."""
    labels = curves["random"][0, :, 0]
    falls = {name: falling(curve[runs, :, 1].mean(axis=0)) for name, curve in curves.items()}
    at = int(np.argmin(np.abs(labels - level / max(LEVELS) * labels[-1])))
    goal = float(falls["random"][at])
    return goal, {name: labels_needed(labels, fall, goal) for name, fall in falls.items()}


def ratios(curves: Curves, runs: np.ndarray) -> dict[str, float]:
    """Labels of random over labels of each other order; never reached counts as the last label."""
    most = float(curves["random"][0, -1, 0])
    logs: dict[str, list[float]] = {name: [] for name in curves if name != "random"}
    for level in LEVELS:
        _, found = needed(curves, runs, level)
        for name, log in logs.items():
            log.append(np.log(found["random"] / min(found[name], most)))
    return {name: float(np.exp(np.mean(log))) for name, log in logs.items()}


def compared(curves: Curves, seed: int = 0) -> dict[str, object]:
    """Labels needed at each level, and the ratio of random to each order with a bootstrap over the runs."""
    everyone = np.arange(len(curves["random"]))
    table = {}
    for level in LEVELS:
        goal, found = needed(curves, everyone, level)
        table[f"{level:.0%} of the pool"] = {"log_loss": round(goal, 4)} | {
            name: round(count) if np.isfinite(count) else None for name, count in found.items()
        }
    found, rng = ratios(curves, everyone), np.random.default_rng(seed)
    again = [ratios(curves, rng.choice(everyone, len(everyone))) for _ in range(RESAMPLES)]
    intervals = {name: np.quantile([one[name] for one in again], (0.05, 0.95)) for name in found}
    best = max(found, key=lambda name: found[name])
    return {
        "labels_needed": table,
        "ratios": {
            name: {"ratio": round(ratio, 2), "interval_90": [round(float(q), 2) for q in intervals[name]]}
            for name, ratio in found.items()
        },
        "best": best,
        "ratio": round(found[best], 2),
        "curves": {name: curve.mean(axis=0)[::4].round(4).tolist() for name, curve in curves.items()},
    }


def computed_features(responses: list[tuple[str, str]], model: str) -> np.ndarray:
    """Features [N, F] of the frozen trunk, in torch."""
    import torch
    from transformers import AutoModel

    from engine.models import features
    from engine.models.catalogue import resolve_model
    from engine.models.policy import load_weights
    from engine.models.trunk import Trunk
    from engine.text import Tokeniser

    folder = Path(resolve_model(model))
    module, _ = load_weights(AutoModel, folder, "bfloat16")
    tokeniser = Tokeniser.from_folder(folder)
    trunk = Trunk.of(module.eval(), tokeniser.pad_id, torch.device("cpu"))
    layers = [round(depth * features.depth(trunk.module)) for depth in DEPTHS]
    encoded = [
        tokeniser.encode_for_score([{"role": "user", "content": prompt}], text, 512)
        for prompt, text in responses
    ]
    pairs = [(tokens.prompt, tokens.response) for tokens in encoded]
    found = np.zeros((len(pairs), len(PARTS) * len(layers) * features.width(trunk.module)), dtype=np.float32)
    for places, part in features.features_of(trunk, pairs, layers, PARTS):
        found[places] = part.numpy()
    return found


def main() -> None:
    """Replay every order with every seed and print where they meet random's log-loss."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--model", default="smollm2", help="folder, hub id or smollm2")
    arguments.add_argument("--data", type=Path, default=DATA)
    arguments.add_argument("--features", type=Path, metavar="FILE.npz", help="kept features of the responses")
    arguments.add_argument("--seeds", type=int, default=4, help="of each of the five held-out fifths")
    options = arguments.parse_args()
    if not options.data.exists():
        raise SystemExit(f"{options.data} does not exist; name the file with --data.")
    started = time.perf_counter()
    pairs, responses = read_pairs(options.data)
    features = features_of(responses, options.model, options.features)
    pool = prepare(pairs, features, {key: row for row, key in enumerate(responses)})
    curves: Curves = {}
    for name, order in ORDERS.items():
        runs = [replay(pool, order, offset, seed) for seed in range(options.seeds) for offset in range(5)]
        steps = min(map(len, runs))
        curves[name] = np.array([run[:steps] for run in runs])
        say(f"{name}: {time.perf_counter() - started:.0f} s")
    steps = min(curve.shape[1] for curve in curves.values())
    curves = {name: curve[:, :steps] for name, curve in curves.items()}
    report(
        "label efficiency",
        **compared(curves),
        pairs=len(pairs),
        runs=5 * options.seeds,
        seconds=round(time.perf_counter() - started),
        versions=versions("numpy"),
    )


if __name__ == "__main__":
    main()
