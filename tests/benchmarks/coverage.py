"""How often a 95 % interval of a frozen head holds the truth, where the truth is known.

Features whose spread falls off as the states of a model do, true scores that are linear in the squashed
features (as the prior has it, or in one feature of twenty), one Bradley–Terry verdict on every pair.  Half of
the prompts are learned from; measured is how often the true difference of two responses to one of the others
lies within 1.96 standard deviations of the members.  `ratio` is the least of the means over 0.9.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from engine.frozen.comparisons import Comparisons, stacked
from engine.frozen.fit import FitSettings, fit_head
from tests.benchmarks.common import parser, report, say, versions

SETTINGS: dict[str, dict[str, float]] = {
    "60 prompts of four responses": {},
    "weak preferences": {"size": 1.0},
    "strong preferences": {"size": 6.0},
    "features that spread alike": {"decay": 0.0},
    "one feature in twenty counts": {"share": 0.05},
    "20 prompts": {"prompts": 20},
    "150 prompts of two responses": {"prompts": 150, "responses": 2},
}
"""Beside 60 prompts of 4 responses, 300 features, differences of standard deviation 3."""


def truth(
    seed: int, prompts: int, responses: int, decay: float, size: float, share: float
) -> tuple[np.ndarray, np.ndarray, Comparisons]:
    """Features [N, F], true scores [N] and verdicts; the second half of the prompts is to be held out."""
    draw, F = np.random.default_rng(seed), 300
    turn = np.linalg.qr(draw.standard_normal((F, F)))[0]
    x = (draw.standard_normal((2 * prompts * responses, F)) * np.arange(1, F + 1) ** (-decay / 2)) @ turn
    weight = draw.standard_normal(F) * (draw.random(F) < share)
    score = np.tanh((x - x.mean(axis=0)) / x.std(axis=0)) @ weight
    score *= size / np.std(score[::2] - score[1::2])
    rows = []
    for prompt in range(2 * prompts):
        for a, b in combinations(range(prompt * responses, (prompt + 1) * responses), 2):
            won = draw.random() < 1 / (1 + np.exp(score[b] - score[a]))
            rows.append((prompt, a, b, won, not won, 0))
    return x.astype(np.float32), score, stacked(rows)


def covered(seed: int, setting: dict[str, float]) -> float:
    """Share of the intervals that hold the truth."""
    made = {"prompts": 60, "responses": 4, "decay": 1.0, "size": 3.0, "share": 1.0} | setting
    prompts, responses = int(made["prompts"]), int(made["responses"])
    x, score, c = truth(seed, prompts, responses, made["decay"], made["size"], made["share"])
    seen, new = c.chosen(c.prompt < prompts), c.chosen(c.prompt >= prompts)
    how = FitSettings(seed=seed)
    head = fit_head(x[: prompts * responses], seen, layers=(1,), parts=("last",), settings=how)
    members, scores = head.members(x), head.scores(x)[:, 0]
    assert members is not None
    deviation = (members[:, new.left, 0] - members[:, new.right, 0]).std(axis=0)
    off = scores[new.left] - scores[new.right] - (score[new.left] - score[new.right])
    return float((np.abs(off) <= 1.96 * deviation).mean())


def main() -> None:
    """Print a line a setting on stderr and everything as JSON on stdout."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--truths", type=int, default=20, help="truths of each setting")
    options = arguments.parse_args()
    found = {}
    for name, setting in SETTINGS.items():
        shares = [covered(seed, setting) for seed in range(options.truths)]
        error = np.std(shares, ddof=1) / np.sqrt(len(shares))
        found[name] = {"mean": round(float(np.mean(shares)), 3), "error": round(float(error), 3)}
        say(f"{name:32s} {found[name]}")
    least = min(each["mean"] for each in found.values())
    report("coverage", settings=found, ratio=round(least / 0.9, 3), versions=versions("numpy"))


if __name__ == "__main__":
    main()
