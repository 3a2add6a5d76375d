"""How often the intervals of the model of labels hold the truth, on verdicts that are drawn from it.

A truth: qualities of responses and lengths, annotators with abilities N(2, 0.7²) and, where pairs are shown,
biases of position and length.  Rankings are drawn by Plackett and Luce's model, so that their pairs are not
independent.  `ratio` is the least share over the 0.95 wanted.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from engine.labels.davidson import chances
from engine.labels.model import BETA, FIRST, LENGTH, LabelModel, fit
from engine.labels.verdicts import PairVerdicts, Said, composite_weight
from tests.benchmarks.common import parser, report, say, versions

TIE = -1.0
SETTINGS: dict[str, tuple[int, int, int, int]] = {
    "80 prompts, pairs, 3 of 4 people": (80, 2, 4, 3),
    "200 prompts, pairs, 3 of 6 people": (200, 2, 6, 3),
    "80 prompts, rankings of 4, 3 of 4": (80, 4, 4, 3),
    "30 prompts, rankings of 4, 2 of 3": (30, 4, 3, 2),
}
"""Prompts, responses a prompt, annotators, and how many of them judge each prompt."""
Truth = tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, float]]


def drawn(seed: int, prompts: int, size: int, people: int, judge: int) -> tuple[PairVerdicts, Truth]:
    """Verdicts, and abilities, biases of position, biases of length, qualities."""
    rng = np.random.default_rng(seed)
    ability, ranking = rng.normal(2.0, 0.7, people), size > 2
    first = np.zeros(people) if ranking else rng.normal(0, 0.4, people)
    longer = np.zeros(people) if ranking else rng.normal(0, 0.3, people)
    longer -= longer.mean()
    said: list[Said] = []
    quality: dict[str, float] = {}
    characters: dict[str, int] = {}
    for prompt in range(prompts):
        names = [f"r{prompt}-{place}" for place in range(size)]
        theta, length = rng.normal(size=size), np.exp2(rng.normal(8, 1, size)).astype(int) + 1
        quality |= dict(zip(names, theta.tolist(), strict=True))
        characters |= dict(zip(names, length.tolist(), strict=True))
        for who in rng.choice(people, judge, replace=False):
            rank = np.argsort(np.argsort(-(ability[who] * theta + rng.gumbel(size=size)))) + 1
            weight = composite_weight(rank.tolist()) if ranking else 1.0
            for i, j in combinations(range(size), 2):
                shown = 0 if ranking else int(rng.choice([-1, 1]))
                eta = ability[who] * (theta[i] - theta[j]) + first[who] * shown
                eta += longer[who] * np.log2(length[i] / length[j])
                p = np.array(chances(np.array(eta), np.array(TIE)))
                verdict = (
                    int(np.sign(rank[j] - rank[i])) if ranking else int(rng.choice([1, 0, -1], p=p / p.sum()))
                )
                said.append(Said(f"p{prompt}", names[i], names[j], f"a{who}", verdict, shown, weight))
    verdicts = PairVerdicts.of(said, characters, [f"a{who}" for who in range(people)])
    return verdicts, (ability, first, longer, quality)


def held(model: LabelModel, truth: Truth) -> dict[str, float]:
    """Share of the intervals of each kind that hold the truth, and how far abilities are off on average."""
    ability, first, longer, quality = truth
    values = model.annotators.values
    error = np.sqrt(np.diagonal(model.annotators.covariance, axis1=1, axis2=2))
    found = {
        name: float((np.abs(values[:, column] - true) <= 1.96 * error[:, column]).mean())
        for name, column, true in (
            ("ability", BETA, ability),
            ("first", FIRST, first),
            ("longer", LENGTH, longer),
        )
    }
    true = np.array([quality[name] for name in model.verdicts.responses])
    off = [np.abs(true[x] - true[y] - mean) <= 1.96 * sd for x, y, mean, sd in model.beliefs.pairs()]
    found["difference"] = float(np.concatenate(off).mean())
    return found | {"ability_off": float((values[:, BETA] - ability).mean())}


def main() -> None:
    """Print a line a setting on stderr and everything as JSON on stdout."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--truths", type=int, default=60, help="truths of each setting")
    options = arguments.parse_args()
    found = {}
    for name, setting in SETTINGS.items():
        each = []
        for seed in range(options.truths):
            verdicts, truth = drawn(seed, *setting)
            each.append(held(fit(verdicts), truth))
        found[name] = {key: round(float(np.mean([one[key] for one in each])), 3) for key in each[0]}
        say(f"{name:36s} {found[name]}")
    least = min(row[key] for row in found.values() for key in ("ability", "first", "longer", "difference"))
    report("label_model", settings=found, ratio=round(least / 0.95, 3), versions=versions("numpy"))


if __name__ == "__main__":
    main()
