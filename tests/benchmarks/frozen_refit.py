"""How long the head on a frozen trunk takes to refit after a judgement: cross-validation, ensemble and all.

Made-up features that spread alike in all directions, which is the slowest case; `ratio` is the two seconds
allowed over the median of the times.
"""

from __future__ import annotations

import os
import statistics
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: as the workbench process sets it

from engine.frozen.fit import fit
from tests.benchmarks.common import parser, report, say, versions
from tests.engine.frozen.made import made

ALLOWED = 2.0  # seconds


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--prompts", type=int, default=233)
    arguments.add_argument("--responses", type=int, default=3)
    arguments.add_argument("--features", type=int, default=4608)
    arguments.add_argument("--times", type=int, default=7)
    wanted = arguments.parse_args()
    features, comparisons = made(0, prompts=wanted.prompts, responses=wanted.responses, F=wanted.features)
    seconds = []
    for number in range(wanted.times):
        started = time.perf_counter()
        fitted = fit(features, comparisons, layers=(1,), parts=("last",))
        seconds.append(time.perf_counter() - started)
        say(f"refit {number + 1}: {seconds[-1]:.2f} s")
    median = statistics.median(seconds)
    report(
        "frozen refit",
        ratio=ALLOWED / median,
        seconds_median=median,
        seconds_most=max(seconds),
        pairs=len(comparisons),
        features=wanted.features,
        strengths=len(fitted.reports["overall"].strengths),
        folds=fitted.reports["overall"].folds,
        members=0 if fitted.head.ensemble_weight is None else len(fitted.head.ensemble_weight),
        versions=versions("numpy"),
    )


if __name__ == "__main__":
    main()
