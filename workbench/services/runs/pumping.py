"""One look at the jobs of a store: what they have said, which have died, whose turn has come."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.errors import WorkbenchError
from engine.protocol import devices, launch
from engine.protocol.building import build_typed
from engine.protocol.catalog import JOBS
from engine.protocol.rundir import RunDir
from storage import runs
from storage.errors import DiskFullError
from storage.interchange.clean import clean_text
from storage.records import RunRow
from storage.store import Store
from workbench.services import faults
from workbench.services.labels.labels_used import label_words
from workbench.services.runs import snapshots, workers
from workbench.services.runs.ingest import catch_up, stderr_tail, utc
from workbench.services.runs.pulse import Pulse

ENDED = ("done", "stopped", "paused", "failed")
FIRST = 0
"""Number of the message that stands before all that the job says itself."""
RESUMABLE = ("stopped", "paused", "failed")


@dataclass(frozen=True)
class RunChange:
    """A run that is not as it was before the pump."""

    run_id: str
    status: str
    events: int
    """New events."""


Changes = list[RunChange]


class Pump:
    """What looks; `worker` is the command that gets the run directory as its last argument."""

    def __init__(self, store: Store, pulse: Pulse, worker: Sequence[str], grace: float) -> None:
        self._store, self._pulse, self._worker, self._grace = store, pulse, tuple(worker), grace
        self._named = str(store.path or f"a store in the memory of process {os.getpid()}")

    def look(self) -> Changes:
        """Look once; nothing, at once, when another thread is at it or nothing has moved."""
        if not self._pulse.lock.acquire(blocking=False):
            return []
        try:
            before = self._store.changes
            if self._pulse.quiet(before):
                return []
            changes: Changes = []
            rows = runs.unfinished(self._store)
            for row in rows:
                if row.status == "running":
                    changes += self._each(row, self._follow)
            waiting = any(row.status == "queued" for row in rows)
            if waiting:
                changes += self._start_waiting()
            # What was written since `before`, here or elsewhere, is looked at by the next pump.
            running = (row.run_id for row in rows if row.status == "running")
            self._pulse.looked(before, running, waiting=waiting)
            return changes
        finally:
            self._pulse.lock.release()

    def _each(self, row: RunRow, part: Callable[[RunRow], Changes]) -> Changes:
        """A part of the pump for one run: whatever goes wrong is that run's failure, and the others go on.

        A store that takes nothing is no run's fault: such an error comes again when the failure is stored.
        """
        try:
            return part(row)
        except (DiskFullError, MemoryError):
            raise
        except Exception as error:
            self._fail(row, faults.sentence(error))
            if not faults.is_foreseen(error):
                faults.log(error, self._store.runs_root)
            with suppress(OSError):
                launch.request_stop(RunDir(Path(row.run_dir or "")))
            return [RunChange(row.run_id, "failed", 0)]

    def _follow(self, row: RunRow) -> Changes:
        run = RunDir(Path(row.run_dir or ""))
        process = workers.process(row, run)
        # Whether it lives is asked first: what a worker wrote before it ended is then never missed.
        lives = process is not None and launch.alive(process.pid, process.started)
        begun = time.thread_time()
        reads = not lives or self._pulse.may_read(row.run_id)
        new, fault = catch_up(self._store, row) if reads else (0, "")
        if fault:
            raise WorkbenchError(fault)
        cost = time.thread_time() - begun if new else 0.0
        after = self._row(row.run_id) if new else row
        self._pulse.took(row.run_id, run, process, after.last_offset, cost)
        if after.status == "running" and self._mend(after, run, process, lives):
            after = self._row(row.run_id)
        changed = new or after.status != row.status
        return [RunChange(row.run_id, after.status, new)] if changed else []

    def _mend(self, row: RunRow, run: RunDir, process: launch.Process | None, lives: bool) -> bool:
        """Make the store right about a run that it takes to be running; whether anything was written."""
        if not lives:
            self._bury(row, run, process)
        elif workers.overdue(run, self._grace):
            launch.kill(run)
        elif row.pid is None and process is not None:
            runs.update_run(self._store, row.run_id, pid=process.pid, pid_started=process.started)
        else:
            return False
        return True

    def _bury(self, row: RunRow, run: RunDir, process: launch.Process | None) -> None:
        """A worker is gone without a closing event; or the workbench was, before it could start one."""
        if launch.busy(run):
            return
        if process is None:
            runs.update_run(self._store, row.run_id, status="queued", started_at=None, stage=None)
            return
        words = stderr_tail(run)
        stopped = run.stop_path.exists()
        runs.update_run(
            self._store,
            row.run_id,
            status="stopped" if stopped else "failed",
            reason="Ended before it could keep everything."
            if stopped
            else workers.cause_of_death(process, words),
            stderr_tail=words,
            ended_at=utc(time.time()),
        )

    def _start_waiting(self) -> Changes:
        """Start queued runs, the oldest first, one heavy job a device."""
        changes: Changes = []
        everyone = {row.run_id: row for row in reversed(runs.run_rows(self._store))}
        rows = [row for row in everyone.values() if row.status not in ENDED]
        busy = {workers.device(row) for row in rows if row.status == "running" and _heavy(row)}
        for row in rows:
            if row.status != "queued":
                continue
            first = everyone.get(row.waits_for or "")
            if first is not None and first.status in RESUMABLE:
                self._fail(row, f"{first.run_id}, which it needed, {_was(first.status)}.")
                changes.append(RunChange(row.run_id, "failed", 0))
            elif (first is None or first.status == "done") and workers.device(row) not in busy:
                new = self._each(row, self._start if _heavy(row) else self._start_holding)
                if _heavy(row) and (not new or new[-1].status in ("running", "queued")):
                    busy.add(workers.device(row))
                changes += new
        return changes

    def _start(self, row: RunRow) -> Changes:
        """Start a heavy job unless one of another store keeps its device busy: then it says so and waits."""
        device = workers.device(row)
        hold = devices.take(device)
        if hold is None:
            holder = devices.holder(device)
            waits = f"waits for {device}, busy with {clean_text(holder)}"
            if row.stage == waits or holder.endswith(
                f" of {self._named}"
            ):  # a worker of ours that is just ending
                return []
            runs.update_run(self._store, row.run_id, stage=waits)
            return [RunChange(row.run_id, row.status, 0)]
        try:
            hold.say(row.run_id, self._named)
            return self._start_holding(row, hold)
        finally:
            hold.close()  # the worker has its own

    def _start_holding(self, row: RunRow, hold: devices.Hold | None = None) -> Changes:
        run = RunDir(Path(row.run_dir or ""))
        try:
            status = self._launch(row, run, hold)
        except snapshots.NothingToDoError as error:
            status = "done"
            ended = {"status": status, "reason": str(error), "stage": None, "ended_at": utc(time.time())}
            runs.update_run(self._store, row.run_id, **ended)
        except OSError as error:
            raise WorkbenchError(f"The run could not start in {run.path}: {error.strerror}.") from error
        return [RunChange(row.run_id, status, 0)]

    def _launch(self, row: RunRow, run: RunDir, hold: devices.Hold | None) -> str:
        """Claim a queued run, prepare what it reads, start its worker; the status that it has then."""
        for left in (run.process_path, run.stop_path, run.pause_path):
            left.unlink(missing_ok=True)
        catch_up(self._store, row, ended=True)  # a worker may have gone on after its run was failed
        if not runs.claim(self._store, row.run_id):
            return self._row(row.run_id).status
        runs.update_run(self._store, row.run_id, started_at=utc(time.time()), stage="preparing")
        config = run.read_config()[1]
        if run.inputs_path.exists():
            snapshots.follow_moved_models(self._store, run, config)
            snapshots.refresh(self._store, run, config)
        else:
            inputs = snapshots.prepare(self._store, run, config)
            runs.update_run(self._store, row.run_id, data_hash=inputs.data_hash)
            if words := label_words(self._store, config):
                runs.add_message(self._store, row.run_id, FIRST, "info", " ".join(words), utc(time.time()))
        inherited = hold.inherited if hold else ()
        if config.on:  # how many processes compute is the other machine's matter
            process = launch.spawn(run, launch.CARRIER, inherited)
        else:
            process = launch.spawn(run, self._worker, inherited, config.processes)
        runs.update_run(self._store, row.run_id, pid=process.pid, pid_started=process.started, stage=None)
        return "running"

    def _fail(self, row: RunRow, reason: str) -> None:
        runs.update_run(
            self._store, row.run_id, status="failed", reason=reason, stage=None, ended_at=utc(time.time())
        )

    def _row(self, run_id: str) -> RunRow:
        return runs.run_row(self._store, run_id)


def _heavy(row: RunRow) -> bool:
    """Whether it keeps a device busy; what is computed elsewhere does not."""
    if row.kind not in JOBS:
        return True
    try:
        computes = build_typed(JOBS[row.kind].config, row.config).computes
    except WorkbenchError:  # a configuration of another version says so when the run starts
        computes = True
    return JOBS[row.kind].heavy and computes


def _was(status: str) -> str:
    return "has failed" if status == "failed" else f"was {status}"
