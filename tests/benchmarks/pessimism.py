"""What pessimism of an ensemble costs and holds, where the truth is known: best of 4 by heads of a posterior.

Half of 80 prompts of four responses is learned from, a verdict on every pair.  The members are heads drawn
from the posterior (`engine.frozen.posterior`).  On the other half it is told how often 95 % intervals hold
how much better a response is than the others of its prompt, how wide a score's own spread is beside that
of this difference, and for each way of choosing the best of four what the choice is worth (1 is the truly
best one, 0 one by chance) and how often the truth lies above its one-sided 95 % bound.  `level` says how much
the responses of a prompt share, beside 1 of what tells them apart.  `ratio` is the least coverage over 0.95.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from engine.frozen.fit import FitSettings, fit_head
from engine.objectives.groups import leave_one_out
from engine.objectives.rewards import cautious, pessimistic
from tests.benchmarks.common import parser, report, say, versions
from tests.engine.frozen.test_posterior import truth

PROMPTS, K, FEATURES = 40, 4, 300
LEVELS = (0.0, 1.0, 3.0)


def measured(seed: int, level: float) -> dict[str, float]:
    """The figures of one truth."""
    x, score, c = truth(seed, PROMPTS, K, FEATURES, level)
    learned = PROMPTS * K
    seen = c.chosen(c.prompt < PROMPTS)
    head = fit_head(x[:learned], seen, layers=(1,), parts=("last",), settings=FitSettings(seed=seed))
    drawn = head.members(x[learned:])
    assert drawn is not None
    members_M_N, group_N = torch.from_numpy(drawn[:, :, 0]).double(), torch.arange(learned) // K
    true_N = leave_one_out(torch.from_numpy(score[learned:]).double(), group_N)
    mean_N = members_M_N.mean(dim=0)
    deviation_N = mean_N - cautious(members_M_N, group_N, penalty=1.0)
    found_N = leave_one_out(mean_N, group_N)
    figures = {
        "covered": share((found_N - true_N).abs() <= 1.96 * deviation_N),
        "spread of a score": float(members_M_N.std(dim=0, unbiased=False).mean() / deviation_N.mean()),
    }
    best = float(true_N.view(-1, K).max(dim=1).values.mean())
    for name, score_N in ways(members_M_N, group_N, float(deviation_N.mean())).items():
        chosen = score_N.view(-1, K).argmax(dim=1)[:, None]
        above_N = true_N >= found_N - 1.645 * deviation_N
        figures[name] = float(true_N.view(-1, K).gather(1, chosen).mean()) / best
        figures[f"{name}, bound holds"] = share(above_N.view(-1, K).gather(1, chosen))
    return figures


def ways(members_M_N: Tensor, group_N: Tensor, deviation: float) -> dict[str, Tensor]:
    """Scores to choose by, [N]; λ of the variance is 1/(2·deviation), so that both penalties are alike."""
    return {
        "mean": members_M_N.mean(dim=0),
        "mean-deviation:0.5": cautious(members_M_N, group_N, penalty=0.5),
        "mean-deviation:1": cautious(members_M_N, group_N, penalty=1.0),
        "mean-variance": pessimistic(members_M_N, penalty=0.5 / deviation),
        "minimum": pessimistic(members_M_N, penalty=None),
    }


def share(true: Tensor) -> float:
    """Of what is true."""
    return float(true.double().mean())


def main() -> None:
    """Print a line a figure on stderr and everything as JSON on stdout."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--truths", type=int, default=20, help="truths of each level")
    options = arguments.parse_args()
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for level in LEVELS:
        figures = [measured(seed, level) for seed in range(options.truths)]
        found[str(level)] = {}
        for name in figures[0]:
            values = [figure[name] for figure in figures]
            error = float(np.std(values, ddof=1)) / len(values) ** 0.5
            found[str(level)][name] = (round(float(np.mean(values)), 3), round(error, 3))
            say(f"level {level}  {name:34s} {found[str(level)][name]}")
    least = min(figures["covered"][0] for figures in found.values())
    report("pessimism", levels=found, ratio=round(least / 0.95, 3), versions=versions("numpy", "torch"))


if __name__ == "__main__":
    main()
