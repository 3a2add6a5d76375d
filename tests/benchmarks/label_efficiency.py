"""How many labels each order of the queue needs for the same held-out log-loss, on several data sets.

Judgements are replayed from files.  A label is a verdict on one pair of responses.  Every order starts from
the same 20 random labels and then asks for 10 at a time, each of another prompt, the head being fitted anew
in between, as the workbench does while a person judges.  A fifth of the prompts is held out, another one
with each run; prompts arrive in a shuffled order.  All orders see the same splits, starts and arrivals.

pandalm       pairs of PandaLM on which most of three people agree, several of a prompt
one person    the same, but a label is the verdict of one of the three, drawn at random; measured on most's
hh            pairs of transcripts, one of a prompt (`--hh FILE`)
both          PandaLM's and HH's pairs in one queue

Curves of log-loss are averaged over the runs and made falling.  `shares` is the number of labels that an
order needs over the number that random needs for the same log-loss, the geometric mean over the log-losses
that random has after 60, 100, 150 and 200 labels: below 1 is better than random, 0.8 was wanted.  The
intervals of 95 % draw runs, the same for every order.  An order that does not get there by the last label
counts as if it did.

Features are those that the shipped head reads, computed once and kept in `--features FOLDER`.  The strength
of the ridge is the one that does best for random labels at 20, 60, 120 and 240 of them, for every order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.benchmarks.common import PANDALM, PEERS, parser, report, say, versions
from tests.benchmarks.label_orders import ORDERS, STEP, Moment, Pool, chance, pools

HH = PEERS.parent / "data" / "hh_harmless.jsonl"
FIRST, MOST = 20, 240
GOALS = (60, 100, 150, 200)
"""Labels of random whose log-loss is the goal of the others."""
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.25, 0.7, 2.0)
STRENGTHS_AT = (20, 60, 120, 240)
RESAMPLES = 1000


def fit_dual(products: np.ndarray, win: np.ndarray, strength: float) -> np.ndarray:
    """Minimise Σ −ln σ(±wᵀd) + ½·strength·‖w‖², w = Σ dual · d, by Newton's method."""
    dual = np.zeros(len(win))
    for _ in range(30):
        margin = products @ dual
        p = chance(margin)
        curve = np.maximum(p * (1 - p), 1e-6)
        new = np.linalg.solve(products + np.diag(strength / curve), margin + (win - p) / curve)
        moved, dual = np.abs(products @ (new - dual)).max(), new
        if moved < 1e-3:
            break
    return dual


def losses(margin: np.ndarray, win: np.ndarray) -> np.ndarray:
    """−ln of the chance given to what is true, in nats."""
    return np.logaddexp(0.0, np.where(win > 0, -margin, margin))


# -- replaying ------------------------------


def arrived(pool: Pool, rng: np.random.Generator) -> Pool:
    """The pool as if its prompts had come in another order, the pairs of each together and shuffled."""
    age = rng.permutation(pool.prompt.max() + 1)[pool.prompt]
    order = np.lexsort((rng.random(len(age)), age))
    return Pool(pool.prompt[order], pool.votes[order], pool.products[np.ix_(order, order)], pool.one_person)


def start(pool: Pool, run: int) -> tuple[Pool, np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    """The pool, what is held out, what is labelled first, the labels; the same for every order."""
    rng = np.random.default_rng(run)
    pool = arrived(pool, rng)
    fifth = rng.permutation(pool.prompt.max() + 1) % 5 == 0
    test, rest = np.flatnonzero(fifth[pool.prompt]), np.flatnonzero(~fifth[pool.prompt])
    return pool, test, rng.choice(rest, FIRST, replace=False), pool.labels(rng), rng


def replay(
    pool: Pool, order: Callable[[Moment], np.ndarray], run: int, strength_of: Callable[[int], float]
) -> list[float]:
    """Held-out log-loss after 20, 30, … labels."""
    pool, test, labelled, win, rng = start(pool, run)
    waiting = np.setdiff1d(np.arange(len(win)), np.concatenate([test, labelled]))
    curve: list[float] = []
    while True:
        strength = strength_of(len(labelled))
        dual = fit_dual(pool.products[np.ix_(labelled, labelled)], win[labelled], strength)
        margin = pool.products[np.ix_(test, labelled)] @ dual
        curve.append(float(losses(margin, pool.truth[test]).mean()))
        if len(labelled) >= MOST:
            return curve
        chosen = order(Moment(pool, labelled, waiting, dual, strength, rng))
        labelled, waiting = np.append(labelled, chosen), np.setdiff1d(waiting, chosen)


def strengths(pool: Pool, runs: int = 10) -> Callable[[int], float]:
    """The strength for a number of labels, from random ones."""
    found = []
    for count in STRENGTHS_AT:
        loss = dict.fromkeys(STRENGTHS, 0.0)
        for run in range(runs):
            shuffled, test, first, win, rng = start(pool, 10_000 + run)
            rest = np.setdiff1d(np.arange(len(win)), np.concatenate([test, first]))
            known = np.append(first, rng.choice(rest, count - FIRST, replace=False))
            for strength in STRENGTHS:
                dual = fit_dual(shuffled.products[np.ix_(known, known)], win[known], strength)
                margin = shuffled.products[np.ix_(test, known)] @ dual
                loss[strength] += float(losses(margin, shuffled.truth[test]).mean())
        found.append(min(loss, key=lambda one: loss[one]))
    say(f"strengths {found}")
    return lambda count: found[int(np.argmin([abs(count - at) for at in STRENGTHS_AT]))]


# -- comparing ------------------------------


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


LABELS = np.arange(FIRST, MOST + 1, STEP)


def labels_needed(log_loss: np.ndarray, goal: float) -> float:
    """Labels after which a falling curve is at the goal; the last where it never is."""
    below = np.flatnonzero(log_loss <= goal)
    if not len(below):
        return float(MOST)
    at = int(below[0])
    if at == 0:
        return float(LABELS[0])
    share = (log_loss[at - 1] - goal) / max(log_loss[at - 1] - log_loss[at], 1e-12)
    return float(LABELS[at - 1] + share * STEP)


Curves = dict[str, np.ndarray]
"""By order: log-loss of every run and step, [runs, steps]."""


def log_shares(curves: Curves, runs: np.ndarray) -> dict[str, float]:
    """ln of each order's labels over random's, the mean over the goals."""
    falls = {name: falling(curve[runs].mean(axis=0)) for name, curve in curves.items()}
    goals = [float(falls["random"][int(np.argmax(goal <= LABELS))]) for goal in GOALS]
    random = np.array([labels_needed(falls["random"], goal) for goal in goals])
    return {
        name: float(np.log(np.array([labels_needed(fall, goal) for goal in goals]) / random).mean())
        for name, fall in falls.items()
        if name != "random"
    }


def compared(sets: dict[str, Curves], seed: int = 0) -> dict[str, dict[str, object]]:
    """By order its share with an interval, of each data set and, as geometric mean, of all."""
    rng = np.random.default_rng(seed)
    found = {name: log_shares(curves, np.arange(len(curves["random"]))) for name, curves in sets.items()}
    drawn: dict[str, list[dict[str, float]]] = {name: [] for name in sets}
    for _ in range(RESAMPLES):
        for name, curves in sets.items():
            count = len(curves["random"])
            drawn[name].append(log_shares(curves, rng.choice(count, count)))
    table: dict[str, dict[str, object]] = {}
    for order in next(iter(found.values())):
        each = np.array([[one[order] for one in drawn[name]] for name in sets])
        rows = {name: (found[name][order], each[number]) for number, name in enumerate(sets)}
        rows["all"] = (float(np.mean([found[name][order] for name in sets])), each.mean(axis=0))
        table[order] = {
            name: [round(float(np.exp(x)), 2) for x in (value, *np.quantile(draws, (0.025, 0.975)))]
            for name, (value, draws) in rows.items()
        }
    return table


def main() -> None:
    """Replay every order in every run and print how many labels each needs."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--model", default="smollm2", help="folder, hub id or smollm2")
    arguments.add_argument("--data", type=Path, default=PANDALM)
    arguments.add_argument("--hh", type=Path, default=HH)
    arguments.add_argument("--pairs", type=int, default=500, help="of HH")
    arguments.add_argument("--features", type=Path, metavar="FOLDER", help="where features are kept")
    arguments.add_argument("--runs", type=int, default=40)
    options = arguments.parse_args()
    if not options.data.exists():
        raise SystemExit(f"{options.data} does not exist; name the file with --data.")
    started, sets = time.perf_counter(), {}
    found = pools(options.model, options.features, options.data, options.hh, options.pairs)
    for name, pool in found.items():
        strength_of, curves = strengths(pool), {}
        for title, order in ORDERS.items():
            curves[title] = np.array([replay(pool, order, run, strength_of) for run in range(options.runs)])
            say(f"{name}, {title}: {time.perf_counter() - started:.0f} s")
        sets[name] = curves
        say(str({order: rows[name] for order, rows in compared({name: curves}).items()}))
    report(
        "label efficiency",
        shares=compared(sets),
        log_loss={
            name: {order: curve.mean(axis=0)[::4].round(4).tolist() for order, curve in curves.items()}
            for name, curves in sets.items()
        },
        pairs={name: len(pool.prompt) for name, pool in found.items()},
        runs=options.runs,
        seconds=round(time.perf_counter() - started),
        versions=versions("numpy"),
    )


if __name__ == "__main__":
    main()
