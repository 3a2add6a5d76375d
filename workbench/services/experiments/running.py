"""Running an experiment: what is missing of it is queued, what stopped goes on, what is done stays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import UsageError
from engine.wording import counted
from storage import experiments
from storage.experiments import ExperimentRun
from storage.store import Store
from workbench.services.experiments.planning import Planned, plan
from workbench.services.experiments.run_file import RunFile, read
from workbench.services.runs.jobs import Jobs
from workbench.services.runs.pumping import RESUMABLE


@dataclass(frozen=True)
class Queued:
    """What asking for an experiment came to."""

    name: str
    new: tuple[str, ...]
    """Runs that were queued."""
    resumed: tuple[str, ...]
    """Runs that had stopped or failed, and go on."""
    standing: tuple[str, ...]
    """Runs that are done, run or wait already."""
    runs: tuple[str, ...]
    """All of them, in the order in which they run."""

    @property
    def sentence(self) -> str:
        """`methods: 3 runs queued, 1 resumed, 8 there already.`"""
        return (
            f"{self.name}: {counted(len(self.new), 'run')} queued, {len(self.resumed)} resumed, "
            f"{len(self.standing)} there already."
        )


def run_file(store: Store, jobs: Jobs, path: Path) -> Queued:
    """Queue what is missing of the experiment of a file; the same file twice queues nothing twice.

    Raises `UsageError` where the file cannot be run, and queues nothing then: a run of the experiment with
    other settings stands under its name already, too.
    """
    file, text = read(path)
    return queue(store, jobs, file, text)


def queue(store: Store, jobs: Jobs, file: RunFile, text: str) -> Queued:
    """`run_file`, of a file that was read."""
    planned = plan(file)
    with store.transaction():
        known = {(run.arm, run.seed, run.role): run for run in experiments.runs_of(store, file.name)}
        for one in planned:
            if (run := known.get((one.arm, one.seed, one.role))) is not None:
                _refuse_changed(one, run)
        experiments.put(store, file.name, text, file.judge)
        new, resumed, standing, runs = [], [], [], []
        before: dict[tuple[str, int], str] = {}  # what the next run of an arm waits for
        for one in planned:
            run = known.get((one.arm, one.seed, one.role))
            if run is None:
                run_id = jobs.submit(one.kind, one.config, after=before.get((one.arm, one.seed)))
                experiments.add_run(
                    store, file.name, one.arm, one.seed, one.role, run_id, msgspec.to_builtins(one.config)
                )
                new.append(run_id)
            elif run.status in RESUMABLE:
                run_id = run.run_id
                jobs.resume(run_id)
                resumed.append(run_id)
            else:
                run_id = run.run_id
                standing.append(run_id)
            before[one.arm, one.seed] = run_id
            runs.append(run_id)
    return Queued(file.name, tuple(new), tuple(resumed), tuple(standing), tuple(runs))


def _refuse_changed(one: Planned, run: ExperimentRun) -> None:
    """Raises `UsageError` where a run stands under this name that was asked for with other settings."""
    now: Mapping[str, Any] = json.loads(msgspec.json.encode(one.config))
    for key, value in now.items():
        before = run.settings.get(key, value)  # a setting may be newer than the run
        if before != value:
            raise UsageError(
                f"{one.arm}, seed {one.seed}, was run with {key} {before} ({run.run_id}) and the file says "
                f"{value}: call the method or the experiment otherwise."
            )
    if run.kind != one.kind:
        raise UsageError(
            f"{one.arm} was run as {run.kind} and the file says {one.kind}: call one of them otherwise."
        )
