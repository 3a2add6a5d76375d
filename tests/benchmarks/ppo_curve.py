"""PPO's curves over several seeds on a reward model of an existing store: score, KL, length, what it costs.

`python -m tests.benchmarks.ppo_curve --db STORE --reward-model NAME --prompts SOURCE --out FILE.csv` runs the
job `ppo` (or `--algorithm grpo`, `rloo`) once a seed through the workbench's own services, each in a worker
process, and writes every metric of every step to the CSV file.  `ratio` is the rise of the mean score from
the first fifth of the steps to the last, over its standard error across seeds; KL and length stand beside
it, so that a score bought with length or distance is seen.  `policy/reward` is what the loss maximises: the
normalised score, its penalty for a response that never stops, and the KL.  `kl_over_target` is the mean KL of
the last fifth of the steps over `kl_target`, for each seed.  `--set FIELD=VALUE` changes a
setting of the job, the same for all seeds.
"""

from __future__ import annotations

import csv
import math
import statistics
from pathlib import Path

from engine.protocol.building import build
from engine.protocol.catalog import find_job
from tests.benchmarks.common import parser, report, say, versions

METRICS = (
    "policy/score",
    "policy/gold",
    "policy/reward",
    "policy/objective",
    "policy/kl",
    "policy/kl_goal",
    "policy/length",
    "policy/entropy",
    "policy/stopped",
    "policy/clip_fraction",
    "policy/explained_variance",
    "policy/beta",
    "policy/ratio_max_deviation",
    "policy/seconds_rollout",
    "policy/seconds_scoring",
    "policy/seconds_update",
)
Curve = dict[int, dict[str, float]]


def learn(db: str, algorithm: str, name: str, settings: dict[str, str], seeds: range) -> dict[int, Curve]:
    """Metrics by seed and step."""
    from workbench.services.workspace import Workspace
    from workbench.settings import load_settings

    curves: dict[int, Curve] = {}
    with Workspace.open(load_settings(db=db)) as workspace:
        for seed in seeds:
            config = build(
                find_job(algorithm).config, {"name": f"{name}-{seed}", "seed": str(seed), **settings}
            )
            run_id = workspace.jobs.submit(algorithm, config)
            ended = workspace.jobs.wait(run_id)
            if ended.status != "done":
                raise SystemExit(f"The run {run_id} of seed {seed} ended as {ended.status}: {ended.reason}")
            curve: Curve = {}
            for metric, points in workspace.jobs.metrics(run_id).items():
                for step, value in points:
                    curve.setdefault(step, {})[metric] = value
            curves[seed] = curve
            last = curve[max(curve)]
            say(f"seed {seed}: " + ", ".join(f"{key} {last[key]:.3g}" for key in METRICS if key in last))
    return curves


def write(path: Path, curves: dict[int, Curve]) -> None:
    """One row a seed and step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = [
        name for name in METRICS if any(name in row for curve in curves.values() for row in curve.values())
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["seed", "step", *known])
        for seed, curve in curves.items():
            for step in sorted(curve):
                values = [curve[step].get(name) for name in known]
                rows.writerow([seed, step, *("" if value is None else f"{value:.5g}" for value in values)])


def ends(curves: dict[int, Curve], metric: str) -> tuple[list[float], list[float]]:
    """Mean of the metric over the first and the last fifth of the steps that have it, for each seed."""
    first, last = [], []
    for curve in curves.values():
        values = [curve[step][metric] for step in sorted(curve) if metric in curve[step]]
        some = max(2, len(values) // 5)
        first.append(statistics.fmean(values[:some]))
        last.append(statistics.fmean(values[-some:]))
    return first, last


def main() -> None:
    """Run the seeds one after the other."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--db", type=str, required=True, help="store with prompts and the reward model")
    arguments.add_argument("--reward-model", required=True)
    arguments.add_argument("--prompts", default="", help="only prompts of this source")
    arguments.add_argument("--name", default="curve", help="of the policies, a number behind it")
    arguments.add_argument("--algorithm", choices=("ppo", "grpo", "rloo"), default="ppo")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--first-seed", type=int, default=1)
    arguments.add_argument("--out", type=Path, required=True, help="CSV file of the curves")
    arguments.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the job")
    options = arguments.parse_args()
    settings = {"policy": "smollm2", "reward_model": options.reward_model, "prompts": options.prompts}
    settings |= dict(item.split("=", 1) for item in options.set)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    curves = learn(options.db, options.algorithm, options.name, settings, seeds)
    write(options.out, curves)
    figures: dict[str, object] = {}
    for metric in (
        "policy/score",
        "policy/gold",
        "policy/reward",
        "policy/kl",
        "policy/length",
        "policy/stopped",
    ):
        if all(any(metric in row for row in curve.values()) for curve in curves.values()):
            first, last = ends(curves, metric)
            figures[metric] = {"first": [round(x, 3) for x in first], "last": [round(x, 3) for x in last]}
    target = build(find_job(options.algorithm).config, {"name": "x", **settings}).kl_target  # type: ignore[attr-defined]
    first, last = ends(curves, "policy/score")
    rises = [after - before for before, after in zip(first, last, strict=True)]
    error = statistics.stdev(rises) / math.sqrt(len(rises)) if len(rises) > 1 else math.nan
    report(
        "ppo curve",
        kl_over_target=[round(kl / target, 3) for kl in ends(curves, "policy/kl")[1]],
        algorithm=options.algorithm,
        settings=settings,
        figures=figures,
        rise=round(statistics.fmean(rises), 3),
        standard_error=round(error, 3),
        ratio=round(statistics.fmean(rises) / error, 2) if error > 0 else None,
        versions=versions("torch", "transformers"),
    )


if __name__ == "__main__":
    main()
