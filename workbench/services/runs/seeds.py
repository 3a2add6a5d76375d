"""One training with several seeds: queued at once, and what came out with its error over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from engine.errors import UsageError
from engine.protocol.configs import JobConfig
from storage.store import Store
from workbench.services.runs.jobs import Jobs
from workbench.services.statistics import mean_and_error, t_quantile

MOST = 100
LAST = 0.2
"""Share of the steps at the end of a run over which its metrics are averaged."""


@dataclass(frozen=True)
class OverSeeds:
    """A metric over runs that differ in their seed."""

    name: str
    mean: float
    """Over seeds, of the mean over the last fifth of each run's steps."""
    standard_error: float
    """Over seeds; NaN for one."""
    low: float
    high: float
    """Interval of 95 %, Student's t."""
    of_each: Mapping[str, float]
    """By run."""


def seeds_of(text: str) -> tuple[int, ...]:
    """The seeds of `0,1,2`.  Raises UsageError for anything else, and for a seed that is named twice."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts) or not 2 <= len(set(parts)) <= MOST:
        raise UsageError(f"--seeds takes 2 to {MOST} whole numbers, as in 0,1,2, not “{text}”.")
    seeds = tuple(int(part) for part in parts)
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds names a seed twice: {text}.")
    return seeds


def submit(store: Store, jobs: Jobs, kind: str, config: JobConfig, seeds: Sequence[int]) -> list[str]:
    """Queue one run a seed, none where one cannot be; what each makes is called `NAME seed N`."""
    if not hasattr(config, "seed") or not hasattr(config, "name"):
        raise UsageError(f"A job of the kind {kind} has no seed or no name; run it once.")
    name = config.name
    made = [msgspec.structs.replace(config, name=f"{name} seed {seed}", seed=seed) for seed in seeds]
    ids: list[str] = []
    with store.transaction():
        for one in made:
            ids.append(jobs.submit(kind, one))
    return ids


def over_seeds(jobs: Jobs, run_ids: Sequence[str]) -> list[OverSeeds]:
    """Every metric that all runs have, by name."""
    ends = {run_id: _ends(jobs, run_id) for run_id in run_ids}
    common = set.intersection(*(set(end) for end in ends.values())) if ends else set()
    figures = []
    for name in sorted(common):
        of_each = {run_id: end[name] for run_id, end in ends.items()}
        mean, error = mean_and_error(list(of_each.values()))
        half = error * t_quantile(len(of_each) - 1) if len(of_each) > 1 else error
        figures.append(OverSeeds(name, mean, error, mean - half, mean + half, of_each))
    return figures


def _ends(jobs: Jobs, run_id: str) -> dict[str, float]:
    """Each metric's mean over the last fifth of the steps at which it was said."""
    ends = {}
    for name, points in jobs.metrics(run_id).items():
        last = points[-max(1, round(len(points) * LAST)) :]
        ends[name] = sum(value for _, value in last) / len(last)
    return ends
