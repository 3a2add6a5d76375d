"""Jobs: submitting, queueing, starting, following, stopping and resuming runs.

Nothing here keeps state between calls but the store and the run directories, so a workbench that was killed
goes on where it was: `pump` finds every run that has not ended, by pid and start time, and catches up.
"""

from __future__ import annotations

import dataclasses
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from weakref import WeakKeyDictionary

import msgspec

from engine.errors import UsageError, WorkbenchError
from engine.protocol import launch
from engine.protocol.catalog import JOBS, find_job
from engine.protocol.configs import ExportConfig, JobConfig, RewardConfig
from engine.protocol.events import AnyEvent, Progress
from engine.protocol.log import tail
from engine.protocol.rundir import RunDir
from storage import artifacts, runs
from storage.errors import DiskFullError
from storage.records import ArtifactRow, RunMessage, RunRow
from storage.store import Store
from workbench.services import faults, run_names, snapshots, workers
from workbench.services.ingest import catch_up, stderr_tail, utc
from workbench.services.pulse import Pulse, size

GRACE = 60.0  # seconds between asking a worker to stop and ending it
ENDED = ("done", "stopped", "paused", "failed")
RESUMABLE = ("stopped", "paused", "failed")
MESSAGES_SHOWN = 50

# One pump at a time on a store, whoever calls it.
_pulses: WeakKeyDictionary[Store, Pulse] = WeakKeyDictionary()
_pulses_lock = threading.Lock()


@dataclass(frozen=True)
class RunChange:
    """A run that is not as it was before the pump."""

    run_id: str
    status: str
    events: int
    """New events."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunDetail(RunRow):
    """A run with everything a person may ask about it."""

    artifacts: tuple[ArtifactRow, ...]
    """What it has made and still has, newest first; old checkpoints are given up."""
    messages: tuple[RunMessage, ...]
    """What the job has told, oldest first."""
    latest: Progress | None
    """What a running job last said about how far it is, with its rate."""


# Within the class, `list` is the method.
Rows = list[RunRow]
Changes = list[RunChange]
Points = list[tuple[int, float]]


class Jobs:
    """The jobs of one store.  Thread-safe."""

    def __init__(
        self,
        store: Store,
        runs_root: Path | None = None,
        *,
        worker: Sequence[str] = launch.WORKER,
        grace: float = GRACE,
    ) -> None:
        """`worker` is the command that gets the run directory as its last argument."""
        self._store = store
        self._runs_root = runs_root or store.runs_root
        self._worker = tuple(worker)
        self._grace = grace
        with _pulses_lock:
            self._pulse = _pulses.setdefault(store, Pulse())

    # Asking for work

    def submit(
        self,
        kind: str,
        config: JobConfig,
        *,
        after: str | None = None,
        prompt_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> str:
        """Queue a job and return the run's id.

        `after` names a run that must be done first; where the configuration names something that a waiting
        job will make, that job is taken.  `prompt_ids` and `limit` narrow the prompts that the job reads.
        Raises UsageError: an unknown kind, model or prompt source (with the near match), a name that is
        taken, missing packages.
        """
        job = find_job(kind)
        if type(config) is not job.config:
            raise UsageError(f"A {kind} job takes a {job.config.__name__}, not a {type(config).__name__}.")
        lacking = launch.missing_packages(job)
        if lacking is not None:
            raise UsageError(lacking)
        if after is not None:
            self._row(after)
        wanted = None if prompt_ids is None else tuple(prompt_ids)
        with self._store.transaction():
            checked = run_names.check(self._store, config)
            return self._queue(kind, checked.config, after or checked.after, snapshots.Request(wanted, limit))

    def submit_export_after(self, run_id: str, config: RewardConfig) -> str:
        """Queue the ONNX export of the reward model that `run_id` will make; the export's run id.

        It runs once the training is done, and not at all when the training fails.
        """
        export = ExportConfig(reward_model=config.name, device=config.device)
        return self.submit("export", export, after=run_id)

    def stop(self, run_id: str) -> None:
        """Ask a run to stop and keep what it has; asking a second time ends it at once.

        A run that has not begun is taken off the queue; one that has ended stays as it is.
        """
        row = self._row(run_id)
        if row.status == "queued":
            with self._store.transaction():
                if self._row(run_id).status == "queued":
                    runs.update_run(self._store, run_id, status="stopped", ended_at=utc(time.time()))
                    return
            row = self._row(run_id)
        if row.status != "running":
            return
        run = RunDir(Path(row.run_dir or ""))
        if run.stop_path.exists():
            launch.kill(run)
        else:
            launch.request_stop(run)

    def pause(self, run_id: str) -> None:
        """Ask a training run to stop at the end of its step, with a checkpoint; `resume` goes on with it.

        A run that has not begun is taken off the queue; one that has ended stays as it is.  Raises UsageError
        for a job without steps.
        """
        row = self._row(run_id)
        if not JOBS[row.kind].trains:
            raise UsageError(f"{run_id} has no steps to pause between; stop it, and resume it later.")
        if row.status == "queued":
            with self._store.transaction():
                if self._row(run_id).status == "queued":
                    runs.update_run(self._store, run_id, status="paused", ended_at=utc(time.time()))
                    return
            row = self._row(run_id)
        if row.status == "running":
            launch.request_pause(RunDir(Path(row.run_dir or "")))

    def resume(self, run_id: str) -> None:
        """Queue a stopped, paused or failed run again; it goes on from its last checkpoint."""
        with self._store.transaction():
            row = self._row(run_id)
            if row.status not in RESUMABLE:
                raise UsageError(
                    f"{run_id} is {row.status}; only a stopped, paused or failed run can be resumed."
                )
            if not Path(row.run_dir or "", "config.toml").exists():
                raise WorkbenchError(f"The run directory {row.run_dir} is gone; submit the job again.")
            changes = {"status": "queued", "reason": None, "ended_at": None, "stage": None, "progress": None}
            runs.update_run(self._store, run_id, **changes, pid=None, pid_started=None)

    # Following it

    def pump(self) -> Changes:
        """Take in what running jobs have said, notice those that died, and start those whose turn has come.

        Call it about four times a second: while nothing moves it costs next to nothing.  Returns at once with
        nothing when another thread is at it.
        """
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

    def wait(
        self, run_id: str, on_event: Callable[[AnyEvent], None] | None = None, *, poll: float = 0.1
    ) -> RunRow:
        """Pump until the run has ended; `on_event` gets every event that is not yet in the store."""
        row = self._row(run_id)
        events, offset, seen = Path(row.run_dir or "", "events.jsonl"), row.last_offset, -1
        while True:
            self.pump()
            if seen != self._store.changes:
                seen = self._store.changes
                row = self._row(run_id)
            if on_event is not None and size(events) != offset:
                while (part := tail(events, offset)).offset != offset:
                    offset = part.offset
                    for envelope in part.envelopes:
                        on_event(envelope.event)
            if row.status in ENDED:
                return _in_utc(row)
            time.sleep(poll)

    @property
    def moves(self) -> int:
        """A number that is another one as soon as anything has been stored."""
        return self._store.changes

    def glance(self, run_id: str) -> tuple[RunRow, Progress | None]:
        """A run, and what a running job last said about how far it is: less than `show`."""
        row = self._row(run_id)
        path = Path(row.run_dir or "")
        return _in_utc(row), workers.latest_progress(path) if row.status == "running" else None

    def list(self) -> Rows:
        """Every run, the newest first."""
        return [_in_utc(row) for row in runs.run_rows(self._store)]

    def unfinished(self) -> Rows:
        """The runs that are queued or running, the newest first."""
        return [_in_utc(row) for row in reversed(runs.unfinished(self._store))]

    def show(self, run_id: str) -> RunDetail:
        """Everything about one run.  Raises NotFoundError with the near match when there is none."""
        row = _in_utc(self._row(run_id))
        path = Path(row.run_dir or "")
        text = row.stderr_tail or (stderr_tail(RunDir(path)) if row.status == "running" else "")
        values = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
        return RunDetail(
            **(values | {"stderr_tail": text}),
            artifacts=tuple(
                artifact
                for artifact in artifacts.of_run(self._store, run_id)
                if artifact.kind != "checkpoint" or Path(artifact.path).exists()
            ),
            messages=tuple(runs.messages(self._store, run_id, MESSAGES_SHOWN)),
            latest=workers.latest_progress(path) if row.status == "running" else None,
        )

    def metrics(self, run_id: str) -> dict[str, Points]:
        """Each metric's values as (step, value), steps ascending; values that are not finite are left out."""
        return runs.metrics(self._store, run_id)

    def rollout_steps(self, run_id: str) -> Sequence[int]:
        """The steps that have rollouts, ascending."""
        return runs.rollout_steps(self._store, run_id)

    def _queue(self, kind: str, config: JobConfig, waits_for: str | None, request: snapshots.Request) -> str:
        run_id = f"{kind}-{secrets.token_hex(3)}"
        plain = msgspec.to_builtins(config)
        try:
            run = RunDir.create(self._root() / run_id, config)
            snapshots.write_request(run, request)
        except OSError as error:
            raise WorkbenchError(f"The run directory of {run_id} could not be written: {error}.") from error
        runs.insert_run(self._store, run_id, kind, plain, run_dir=str(run.path), waits_for=waits_for)
        return run_id

    # The parts of a pump

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
        begun = time.perf_counter()
        reads = not lives or self._pulse.may_read(row.run_id)
        new, fault = catch_up(self._store, row) if reads else (0, "")
        if fault:
            raise WorkbenchError(fault)
        cost = time.perf_counter() - begun if new else 0.0
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
                changes += self._each(row, self._start)
                if changes[-1].status == "running" and _heavy(row):
                    busy.add(workers.device(row))
        return changes

    def _start(self, row: RunRow) -> Changes:
        run = RunDir(Path(row.run_dir or ""))
        try:
            status = self._launch(row, run)
        except snapshots.NothingToDoError as error:
            status = "done"
            ended = {"status": status, "reason": str(error), "stage": None, "ended_at": utc(time.time())}
            runs.update_run(self._store, row.run_id, **ended)
        except OSError as error:
            raise WorkbenchError(f"The run could not start in {run.path}: {error.strerror}.") from error
        return [RunChange(row.run_id, status, 0)]

    def _launch(self, row: RunRow, run: RunDir) -> str:
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
        else:
            inputs = snapshots.prepare(self._store, run, config)
            runs.update_run(self._store, row.run_id, data_hash=inputs.data_hash)
        process = launch.spawn(run, self._worker)
        runs.update_run(self._store, row.run_id, pid=process.pid, pid_started=process.started, stage=None)
        return "running"

    def _fail(self, row: RunRow, reason: str) -> None:
        runs.update_run(
            self._store, row.run_id, status="failed", reason=reason, stage=None, ended_at=utc(time.time())
        )

    def _row(self, run_id: str) -> RunRow:
        return runs.run_row(self._store, run_id)

    def _root(self) -> Path:
        if self._runs_root is None:
            self._runs_root = Path(tempfile.mkdtemp(prefix="workbench-runs-"))
        return self._runs_root


def _heavy(row: RunRow) -> bool:
    return row.kind not in JOBS or JOBS[row.kind].heavy


def _was(status: str) -> str:
    return "has failed" if status == "failed" else f"was {status}"


def _in_utc(row: RunRow) -> RunRow:
    """The run with times that know their zone, so that whoever shows them can tell how long ago they were."""
    times = {name: getattr(row, name) for name in ("created_at", "started_at", "ended_at")}
    return dataclasses.replace(row, **{k: v and v.replace(tzinfo=UTC) for k, v in times.items()})
