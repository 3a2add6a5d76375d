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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from weakref import WeakKeyDictionary

import msgspec

from engine.elsewhere.host import Host, check_nodes, find_host, write_host
from engine.errors import UsageError, WorkbenchError
from engine.protocol import launch
from engine.protocol.catalog import JOBS, find_job
from engine.protocol.configs import ExportConfig, JobConfig
from engine.protocol.events import AnyEvent, Message, Progress
from engine.protocol.log import tail
from engine.protocol.rundir import RunDir
from storage import artifacts, runs
from storage.records import ArtifactRow, RunMessage, RunRow
from storage.store import Store
from workbench.services.runs import run_names, snapshots, workers
from workbench.services.runs.ingest import stderr_tail, utc
from workbench.services.runs.pulse import Pulse, size
from workbench.services.runs.pumping import ENDED, RESUMABLE, Changes, Pump

GRACE = 60.0  # seconds between asking a worker to stop and ending it
MESSAGES_SHOWN = 50

# One pump at a time on a store, whoever calls it.
_pulses: WeakKeyDictionary[Store, Pulse] = WeakKeyDictionary()
_pulses_lock = threading.Lock()


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
        hosts: Mapping[str, Host] | None = None,
    ) -> None:
        """`worker` is the command that gets the run directory as its last argument.

        `hosts` are the machines of the settings, by name.
        """
        self._hosts = hosts or {}
        self._store = store
        self._runs_root = runs_root or store.runs_root
        with _pulses_lock:
            pulse = _pulses.setdefault(store, Pulse())
        self._pump = Pump(store, pulse, worker, grace)

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
        Raises UsageError: an unknown kind, machine, model or prompt source (with the near match), a name that
        is taken, missing packages.
        """
        job = find_job(kind)
        if type(config) is not job.config:
            raise UsageError(f"A {kind} job takes a {job.config.__name__}, not a {type(config).__name__}.")
        host = find_host(self._hosts, config.on) if config.on else None
        if host is not None:
            check_nodes(config.on, host, config.machines)
        if host is None and (lacking := launch.missing_packages(job, config)) is not None:
            raise UsageError(lacking)
        if after is not None:
            self._row(after)
        wanted = None if prompt_ids is None else tuple(prompt_ids)
        with self._store.transaction():
            checked = run_names.check(self._store, config)
            request = snapshots.PromptRequest(wanted, limit)
            return self._queue(kind, checked.config, after or checked.after, request, host)

    def submit_with_export(self, kind: str, config: JobConfig) -> tuple[str, str | None]:
        """Queue a job, and behind one that makes a reward model its ONNX export, which scoring reads.

        The ids of both runs.  The export begins once the training is done, and fails when the training does.
        Raises as `submit`.
        """
        run_id = self.submit(kind, config)
        if find_job(kind).makes != "reward_model":
            return run_id, None
        export = ExportConfig(reward_model=config.name, device=config.device)  # type: ignore[attr-defined]
        return run_id, self.submit("export", export, after=run_id)

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

        Call it a few times a second: while nothing moves it costs next to nothing.  Returns at once with
        nothing when another thread is at it.
        """
        return self._pump.look()

    def wait(
        self, run_id: str, on_event: Callable[[AnyEvent], None] | None = None, *, poll: float = 0.2
    ) -> RunRow:
        """Pump until the run has ended; `on_event` gets every event that is not yet in the store."""
        row = self._row(run_id)
        events, offset = Path(row.run_dir or "", "events.jsonl"), row.last_offset
        seen, stage = -1, None  # number of changes, and what a waiting run has said of why
        while True:
            self.pump()
            if seen != self._store.changes:
                seen = self._store.changes
                row = self._row(run_id)
                if on_event is not None and row.status == "queued" and row.stage not in (None, stage):
                    stage = row.stage
                    on_event(Message(level="info", text=f"{run_id} {stage}."))
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

    def _queue(
        self,
        kind: str,
        config: JobConfig,
        waits_for: str | None,
        request: snapshots.PromptRequest,
        host: Host | None,
    ) -> str:
        run_id = f"{kind}-{secrets.token_hex(3)}"
        plain = msgspec.to_builtins(config)
        try:
            run = RunDir.create(self._root() / run_id, config)
            snapshots.write_request(run, request)
            if host is not None:
                write_host(run, host)
            for name, path in config.inputs().files.items():
                run.keep_file(name, Path(path).expanduser())
        except OSError as error:
            raise WorkbenchError(f"The run directory of {run_id} could not be written: {error}.") from error
        runs.insert_run(self._store, run_id, kind, plain, run_dir=str(run.path), waits_for=waits_for)
        return run_id

    def _row(self, run_id: str) -> RunRow:
        return runs.run_row(self._store, run_id)

    def _root(self) -> Path:
        if self._runs_root is None:
            self._runs_root = Path(tempfile.mkdtemp(prefix="workbench-runs-"))
        return self._runs_root


def _in_utc(row: RunRow) -> RunRow:
    """The run with times that know their zone, so that whoever shows them can tell how long ago they were."""
    times = {name: getattr(row, name) for name in ("created_at", "started_at", "ended_at")}
    return dataclasses.replace(row, **{k: v and v.replace(tzinfo=UTC) for k, v in times.items()})
