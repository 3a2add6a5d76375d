"""The job process: `python -m engine.worker RUN_DIR`.

Loads the configuration, runs the job's generator and appends what it says to `events.jsonl`.  Exit codes:
0 done, 1 failed, 130 stopped.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.metadata
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import msgspec

from engine.cores import usable_cores
from engine.errors import UsageError, WorkbenchError, is_out_of_memory
from engine.files import PRIVATE_FOLDER, sweep, write_atomic
from engine.protocol import launch, processes
from engine.protocol.catalog import JobKind, find_job
from engine.protocol.configs import JobConfig
from engine.protocol.events import Event, Failed, Finished, Message, Progress, Started, Stopped
from engine.protocol.launch import DONE, FAILED, STOPPED, USAGE
from engine.protocol.log import EventLog, decode_line
from engine.protocol.rundir import RunDir, checkpoint_step

PROGRESS_INTERVAL = 0.2  # seconds between two Progress events of one stage
LAST_WORD_SECONDS = 0.5  # in which a process that gives up writes down why


class StopFlag:
    """Whether somebody asked the job to stop: a signal, or the file `stop` in the run directory.

    With several processes a signal alone says that another of them has ended: RankLostError.
    """

    def __init__(self, run: RunDir) -> None:
        self._path = run.stop_path
        self._signalled = False
        if launch.BATCH not in os.environ:  # else a signal ends it without a word, as a kill does
            signal.signal(signal.SIGTERM, self._on_signal)
            signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True

    def __bool__(self) -> bool:
        asked = self._path.exists()
        if self._signalled and not asked and processes.world_size() > 1:
            raise processes.RankLostError("Another process of this run has ended; resume the run.")
        return self._signalled or asked


class ProgressThrottle:
    """Lets a few Progress events a second and stage through, always the first and the last of a stage."""

    def __init__(
        self, interval: float = PROGRESS_INTERVAL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval, self._clock = interval, clock
        self._last: dict[str, float] = {}

    def lets_through(self, event: Event) -> bool:
        """Whether the event is written: any but Progress; of a stage one an interval, and its last."""
        if not isinstance(event, Progress):
            return True
        now = self._clock()
        last = self._last.get(event.stage)
        complete = event.total is not None and event.done >= event.total
        if last is not None and not complete and now - last < self._interval:
            return False
        self._last[event.stage] = now
        return True


def main(arguments: list[str] | None = None) -> int:
    """Run the job of a run directory; its exit code, as `engine.protocol.launch` reads it."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("Usage: python -m engine.worker RUN_DIR", file=sys.stderr)
        return USAGE
    run = RunDir(Path(arguments[0]))
    if not run.path.is_dir():
        print(f"There is no run directory {run.path}.", file=sys.stderr)
        return USAGE
    os.umask(0o077)
    stop = StopFlag(run)
    processes.step_back()
    if processes.rank_of_process() > 0:
        code = help_first(run, processes.rank_of_process())
        leave_others()
        return code
    with launch.only_worker(run) as alone:
        if not alone:
            print(f"Another worker is busy in {run.path}.", file=sys.stderr)
            return FAILED
        sweep(run.path)
        if processes.world_size() == 1:  # else it is torchrun, which has started this process
            launch.record_process(run, launch.this_process())
        with EventLog(run.events_path) as log:
            return work(run, log, stop)


def work(run: RunDir, log: EventLog, stop: StopFlag) -> int:
    """Run the job of `run` to its end and write the closing event."""
    try:
        kind, config = run.read_config()
        use_all_cores()
        job = find_job(kind)
        closing = run_job(job, config, run, log, stop)
    except (Exception, SystemExit) as error:  # a library, or a person's function, may end the process
        traceback.print_exc()
        closing = ending(run, error)
    try:
        log.append(closing)
    except OSError as error:
        print(sentence(error), file=sys.stderr)
        return FAILED
    return {Finished: DONE, Stopped: STOPPED}.get(type(closing), FAILED)


def ending(run: RunDir, error: BaseException) -> Event:
    """What an error is to the run: a failure, unless it is the end of another process that was stopped."""
    if not processes.from_another(error):
        return Failed(reason=sentence(error))
    if run.stop_path.exists():
        return Stopped()
    told = error if isinstance(error, processes.RankLostError) else processes.lost(error)
    return Failed(reason=last_word(run) or sentence(told))


def help_first(run: RunDir, rank: int) -> int:
    """Be another process than the first: compute, say nothing, and write where nobody reads.

    What it cannot go on for is left where the first finds it.
    """
    own = RunDir(run.ranks_path / str(rank))
    code = DONE  # as the first: torchrun on a node that is done waits for those that are not
    try:
        own.path.mkdir(mode=PRIVATE_FOLDER, parents=True)
        for name in ("config.toml", "inputs.json", "inputs", "features", "reference.safetensors"):
            if (run.path / name).exists():
                (own.path / name).symlink_to(run.path / name)
        (own.path / "checkpoints").mkdir(mode=PRIVATE_FOLDER)
        for checkpoint in run.checkpoints():
            (own.path / "checkpoints" / checkpoint.name).symlink_to(checkpoint)
        kind, config = run.read_config()
        job = find_job(kind)
        place = resolve_place(config, job, dtype_begun_in(run))
        settled = msgspec.structs.replace(config, device=place.device, dtype=place.dtype or config.dtype)
        for event in getattr(importlib.import_module(job.module), job.function)(settled, own):
            code = STOPPED if isinstance(event, Stopped) else DONE
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        if not processes.from_another(error):
            write_atomic(run.ranks_path / f"{rank}.failed", sentence(error).encode())
        return FAILED
    finally:
        shutil.rmtree(own.path, ignore_errors=True)
    return code


def leave_others() -> None:
    """Part from the other processes of the run."""
    from engine.training.ranks import leave

    leave()


def last_word(run: RunDir) -> str | None:
    """Why another process of the run gave up, if it could say so."""
    time.sleep(LAST_WORD_SECONDS)
    for path in sorted(run.ranks_path.glob("*.failed")):
        return f"Process {path.stem} of the run: {path.read_text()}"
    return None


def run_job(job: JobKind, config: JobConfig, run: RunDir, log: EventLog, stop: StopFlag) -> Event:
    """Append what the job says, between its yields look whether to stop, and return the closing event."""
    lacking = launch.missing_packages(job, config)
    if lacking is not None:
        raise UsageError(lacking)
    function = getattr(importlib.import_module(job.module), job.function)
    place = resolve_place(config, job, dtype_begun_in(run))
    checkpoint = run.latest_checkpoint()
    log.append(
        Started(
            pid=os.getpid(),
            device=place.name,
            dtype=place.dtype,
            versions=versions(job, config),
            resumed_from_step=None if checkpoint is None else checkpoint_step(checkpoint),
        )
    )
    if place.slow is not None:
        log.append(Message(level="warning", text=place.slow))
    throttle = ProgressThrottle()
    settled = msgspec.structs.replace(config, device=place.device, dtype=place.dtype or config.dtype)
    events = function(settled, run)
    with contextlib.closing(events):
        if stop:
            return Stopped()
        for event in events:
            if isinstance(event, Finished | Failed | Stopped):
                return event
            if throttle.lets_through(event):
                log.append(event)
            if stop:
                return Stopped()
    return Finished()


def use_all_cores() -> None:
    """As many threads as this process may use cores, for every library that counts for itself."""
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))


class Placement(NamedTuple):
    """Where a job computes: `auto` of device and number format resolved."""

    device: str  # as its configuration gets it
    name: str  # for a person
    dtype: str  # empty for a job without torch
    slow: str | None = None  # a sentence, where this number format is the slower one here


def resolve_place(config: JobConfig, job: JobKind, begun_in: str | None = None) -> Placement:
    """Device and number format of a job; `begun_in` is the number format of a run that is gone on with.

    Raises UsageError for a device that does not exist.
    """
    if "torch" not in job.needs or not config.computes:
        return Placement(config.device, "cpu" if config.device == "auto" else config.device, "")
    from engine.models.device import describe, multiplies_bfloat16_fast, resolve_device, resolve_dtype

    device = resolve_device(config.device)
    if processes.world_size() > 1 and device.type == "cuda":
        device = resolve_device(f"cuda:{processes.local_rank()}")
    name, dtype = describe(device), begun_in or resolve_dtype(job.dtype or config.dtype, device)
    slow = None
    if dtype == "bfloat16" and not multiplies_bfloat16_fast(device):
        why = "which it began in" if begun_in else "which was asked for"
        slow = (
            f"This run computes in bfloat16, {why}, and {name} is slow at it; "
            "a new run with dtype auto computes in float32, and is faster here."
        )
    return Placement(str(device), name, dtype, slow)


def dtype_begun_in(run: RunDir) -> str | None:
    """The number format of the run's first process; None for a run that has not begun, or has not said."""
    try:
        with run.events_path.open("rb") as file:
            for line in file:
                envelope = decode_line(line)
                if envelope is not None and isinstance(envelope.event, Started):
                    return envelope.event.dtype or None
    except FileNotFoundError:
        pass
    return None


def versions(job: JobKind, config: JobConfig) -> dict[str, str]:
    """Versions of Python and of the packages that the job needs."""
    versions_by_package = {"python": ".".join(str(part) for part in sys.version_info[:3])}
    for name in job.needs if config.computes else ():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions_by_package[name] = importlib.metadata.version(name)
    return versions_by_package


def sentence(error: BaseException) -> str:
    """One line for the person; the traceback is in stderr.log."""
    text = str(error).strip()
    first = text.splitlines()[0] if text else ""
    if isinstance(error, WorkbenchError):
        return text
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = f" at {error.filename}" if error.filename else ""
        return f"The disk is full{where}; free some space and resume the run."
    if isinstance(error, OSError) and error.errno == errno.EDQUOT:
        return "The disk quota is used up; free some space and resume the run."
    if is_out_of_memory(error):
        return "Out of memory; use smaller batches, shorter texts or LoRA, or a device with more memory."
    return f"{type(error).__name__}: {first}" if first else f"{type(error).__name__} (see stderr.log)"


if __name__ == "__main__":
    sys.exit(main())
