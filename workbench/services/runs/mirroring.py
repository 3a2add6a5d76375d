"""Metrics of runs for other trackers: TensorBoard, trackio, Weights & Biases, whichever is installed.

The store stays what counts.  What a tracker was given is remembered in the run's directory, so mirroring goes
on where it stopped; a process killed in between repeats the last points, which are the same of the same step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from engine.errors import UsageError, WorkbenchError
from engine.files import write_atomic
from engine.protocol.suggest import did_you_mean
from storage import runs
from storage.records import RunRow
from storage.store import Store

MIRRORED = "mirrored.json"
MANY = 2000
"""Steps after which what was given is remembered."""


class Tracker(Protocol):
    """One run at a tracker."""

    def log(self, step: int, values: Mapping[str, float], at: float) -> None:
        """Values of one step; `at`: seconds since 1970."""

    def close(self) -> None:
        """See that all of it is kept."""


class TensorBoard:
    """Event files in a folder of the run's name below `place`, for `tensorboard --logdir PLACE`."""

    def __init__(self, place: str, run: RunRow) -> None:
        self._writer = import_module("tensorboard.summary").Writer(str(Path(place, run.run_id)))

    def log(self, step: int, values: Mapping[str, float], at: float) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step, wall_time=at)

    def close(self) -> None:
        self._writer.close()


class Trackio:
    """A run of the project `place` in trackio's local folder."""

    def __init__(self, place: str, run: RunRow) -> None:
        init = import_module("trackio").init
        self._run = init(project=place, name=run.run_id, config=dict(run.config), resume="allow", embed=False)

    def log(self, step: int, values: Mapping[str, float], at: float) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


class WandB:
    """A run of the project `place`, where `wandb login` or its offline mode says."""

    def __init__(self, place: str, run: RunRow) -> None:
        init = import_module("wandb").init
        self._run = init(
            project=place, id=run.run_id, name=run.run_id, config=dict(run.config), resume="allow"
        )

    def log(self, step: int, values: Mapping[str, float], at: float) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


TRACKERS: Mapping[str, Callable[[str, RunRow], Tracker]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": WandB,
}


def target_of(text: str, store: Store) -> tuple[str, str]:
    """Tracker and place of `KIND` or `KIND:PLACE`; a place is a folder for TensorBoard, else a project.

    Without one it is named after the store.  Raises UsageError for an unknown tracker.
    """
    kind, _, place = text.partition(":")
    if kind not in TRACKERS:
        raise UsageError(f"There is no tracker “{kind}”. {did_you_mean(kind, TRACKERS)}")
    name = store.path.stem if store.path is not None else "workbench"
    own = str(store.path.with_suffix(".tensorboard")) if store.path is not None else name
    return kind, place or (own if kind == "tensorboard" else name)


def mirror(store: Store, run_id: str, kind: str, place: str) -> int:
    """Give a tracker the metrics of a run that it has not been given; the number of values.

    Raises NotFoundError where there is no such run, UsageError where the tracker is not installed,
    WorkbenchError where it does not take them.
    """
    run = runs.run_row(store, run_id)
    target = f"{kind}:{Path(place).absolute() if kind == 'tensorboard' else place}"
    remembered = Path(run.run_dir or "", MIRRORED)
    given = _read(remembered)
    new = runs.new_metrics(store, run_id, given.get(target, 0))
    if not new:
        return 0
    tracker: Tracker | None = None
    try:
        tracker = TRACKERS[kind](place, run)
        for number, (seq, step, at, values) in enumerate(_by_step(new), 1):
            tracker.log(step, values, at)
            if number % MANY == 0:
                _remember(remembered, given | {target: seq})
        tracker.close()
    except ImportError as error:
        raise UsageError(f"{kind} is not installed ({error}); pip install {kind} does that.") from error
    except Exception as error:  # whatever the tracker has against it
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WorkbenchError(f"{kind} did not take the metrics of {run_id}: {first}") from error
    _remember(remembered, given | {target: new[-1][0]})
    return len(new)


def _by_step(
    new: list[tuple[int, int, str, float, float]],
) -> Iterator[tuple[int, int, float, dict[str, float]]]:
    """(number of the event, step, time, values by name)."""
    for (seq, step), rows in groupby(new, key=lambda row: row[:2]):
        held = list(rows)
        yield seq, step, held[0][4], {name: value for _, _, name, value, _ in held}


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and all(isinstance(seq, int) for seq in known.values()) else {}


def _remember(path: Path, given: Mapping[str, int]) -> None:
    if path.parent.is_dir():
        write_atomic(path, json.dumps(given).encode())
