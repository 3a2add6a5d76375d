"""How many more labels each order needs until the consensus of annotators is as near to the truth.

A truth is drawn: prompts with two to four responses of quality N(0, 1), annotators of ability N(2, 0.7²) who
follow Davidson's model.  Every pair has been judged once, by one of them at random; then an order says, ten
at a time and of different prompts, which pair is judged again, by whoever has not judged it.  The consensus
is the model of labels, fitted anew after each ten.  All orders see the same truth and the same first labels.

Measured is the mean −ln of the chance that the consensus gives to which of two is truly better.  `shares`
is the number of further labels that an order needs over what random needs for the same loss, the geometric
mean over the losses that random has after 80, 150 and 220 further ones; below 1 is better than random.
Intervals of 95 % draw truths.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from engine.labels.davidson import chances
from engine.labels.model import LabelModel, fit
from engine.labels.reading import probability, worth
from engine.labels.verdicts import PairVerdicts, Said
from tests.benchmarks.common import parser, report, say, versions
from tests.benchmarks.label_efficiency import falling

PROMPTS, PEOPLE, STEP, MOST = 60, 5, 10, 300
GOALS = (80, 150, 220)
TIE = -0.5
RESAMPLES = 1000
Pair = tuple[str, str, str]
Order = Callable[[LabelModel, dict[Pair, int], list[Pair], np.random.Generator], np.ndarray]
"""The worth of each pair: of the model, how often each was judged, the pairs, and chance."""


def tally(
    model: LabelModel, times: dict[Pair, int], pairs: list[Pair], rng: np.random.Generator
) -> np.ndarray:
    """Pairs with the fewest labels first."""
    return np.array([-times[pair] + 0.5 * rng.random() for pair in pairs])


def disagreement(
    model: LabelModel, times: dict[Pair, int], pairs: list[Pair], rng: np.random.Generator
) -> np.ndarray:
    """As `least_agreed`: the share by which the commonest verdict outweighs the others, the least first."""
    said: dict[tuple[int, int], list[float]] = {}
    for x, y, verdict in zip(model.verdicts.x, model.verdicts.y, model.verdicts.verdict, strict=True):
        said.setdefault((int(x), int(y)), []).append(verdict)
    row = {name: place for place, name in enumerate(model.verdicts.responses)}
    agreed = []
    for _, x, y in pairs:
        votes = said[row[x], row[y]]
        most = max(votes.count(value) for value in (1.0, 0.0, -1.0))
        agreed.append(-max(0, 2 * most - len(votes)) / (len(votes) + 1) + 1e-6 * rng.random())
    return np.array(agreed)


def telling(
    model: LabelModel, times: dict[Pair, int], pairs: list[Pair], rng: np.random.Generator
) -> np.ndarray:
    """What a further verdict would tell of the consensus."""
    found = {}
    for x, y, mean, deviation in model.beliefs.pairs():
        for a, b, value in zip(x, y, worth(model, mean, deviation), strict=True):
            found[model.verdicts.responses[a], model.verdicts.responses[b]] = float(value)
    return np.array([found[pair[1:]] for pair in pairs])


def by_random(
    model: LabelModel, times: dict[Pair, int], pairs: list[Pair], rng: np.random.Generator
) -> np.ndarray:
    """Any."""
    return rng.random(len(pairs))


ORDERS: dict[str, Order] = {
    "random": by_random, "fewest labels": tally, "least agreed": disagreement, "consensus": telling,
}  # fmt: skip


def replay(order: Order, seed: int) -> list[float]:
    """Loss of the consensus after 0, 10, 20, … further labels."""
    rng = np.random.default_rng(seed)
    ability = rng.normal(2.0, 0.7, PEOPLE)
    quality: dict[str, float] = {}
    pairs: list[Pair] = []
    for prompt in range(PROMPTS):
        names = [f"r{prompt:03d}-{place}" for place in range(2 + prompt % 3)]
        quality |= {name: float(rng.normal()) for name in names}
        pairs += [(f"p{prompt:03d}", x, y) for x, y in combinations(names, 2)]
    # What each person would say of each pair is drawn beforehand, the same for every order.
    would = {}
    for prompt, x, y in pairs:
        for who in range(PEOPLE):
            p = np.array(chances(np.array(ability[who] * (quality[x] - quality[y])), np.array(TIE)))
            would[prompt, x, y, who] = int(rng.choice([1, 0, -1], p=p / p.sum()))
    turn = {pair: rng.permutation(PEOPLE).tolist() for pair in pairs}
    said, times = [], dict.fromkeys(pairs, 0)

    def ask(pair: Pair) -> None:
        who = turn[pair][times[pair]]
        said.append(Said(*pair, f"a{who}", would[(*pair, who)]))
        times[pair] += 1

    for pair in pairs:
        ask(pair)
    chooser, curve = np.random.default_rng(seed + 10_000), []
    while True:
        model = fit(PairVerdicts.of(said, annotators=[f"a{who}" for who in range(PEOPLE)]))
        curve.append(loss(model, quality))
        if STEP * (len(curve) - 1) >= MOST:
            return curve
        free = [pair for pair in pairs if times[pair] < PEOPLE]
        ordered = np.argsort(-order(model, times, free, chooser), kind="stable")
        prompts: set[str] = set()
        for place in ordered:
            if free[place][0] not in prompts and len(prompts) < STEP:
                prompts.add(free[place][0])
                ask(free[place])


def loss(model: LabelModel, quality: dict[str, float]) -> float:
    """Mean −ln of the chance of what is true of each pair."""
    names, losses = model.verdicts.responses, []
    for x, y, mean, deviation in model.beliefs.pairs():
        better = np.array([quality[names[a]] > quality[names[b]] for a, b in zip(x, y, strict=True)])
        p = np.clip(probability(mean, deviation), 1e-6, 1 - 1e-6)
        losses.append(-np.log(np.where(better, p, 1 - p)))
    return float(np.concatenate(losses).mean())


def needed(curve: np.ndarray, goal: float) -> float:
    """Further labels after which a falling curve is at the goal; the last where it never is."""
    below = np.flatnonzero(curve <= goal)
    if not len(below):
        return float(MOST)
    at = int(below[0])
    if at == 0:
        return float(STEP)
    return float(STEP * (at - 1 + (curve[at - 1] - goal) / max(curve[at - 1] - curve[at], 1e-12)))


def share(curves: dict[str, np.ndarray], name: str, runs: np.ndarray) -> float:
    """Labels of an order over random's."""
    random, mine = (falling(curves[each][runs].mean(axis=0)) for each in ("random", name))
    goals = [float(random[goal // STEP]) for goal in GOALS]
    return float(np.exp(np.mean([np.log(needed(mine, g) / needed(random, g)) for g in goals])))


def main() -> None:
    """Replay every order on every truth and print how many labels each needs."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--runs", type=int, default=40)
    options = arguments.parse_args()
    curves = {}
    for name, order in ORDERS.items():
        curves[name] = np.array([replay(order, seed) for seed in range(options.runs)])
        say(f"{name}: {curves[name].mean(axis=0)[::10].round(4).tolist()}")
    rng, found = np.random.default_rng(0), {}
    drawn = [rng.choice(options.runs, options.runs) for _ in range(RESAMPLES)]
    for name in list(ORDERS)[1:]:
        low, high = np.quantile([share(curves, name, runs) for runs in drawn], (0.025, 0.975))
        found[name] = [round(x, 2) for x in (share(curves, name, np.arange(options.runs)), low, high)]
    report("consensus orders", shares=found, runs=options.runs, versions=versions("numpy"))


if __name__ == "__main__":
    main()
