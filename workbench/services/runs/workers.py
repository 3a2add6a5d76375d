"""What the workbench knows of a worker process: which it is, what it keeps busy, how it ended."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from engine.protocol import launch
from engine.protocol.events import Progress
from engine.protocol.log import tail
from engine.protocol.rundir import RunDir
from storage.records import RunRow


def process(row: RunRow, run: RunDir) -> launch.Process | None:
    """The worker of a run as the store knows it, or, after a crash of the workbench, the run directory."""
    if row.pid is not None and row.pid_started is not None:
        return launch.Process(pid=row.pid, started=row.pid_started)
    return launch.read_process(run)


def device(row: RunRow) -> str:
    """Which device a job keeps busy.  Asked without torch: a GPU is there when its driver's file is.

    Another machine is one device: it gets one job of this store's after another.
    """
    if elsewhere := row.config.get("on"):
        return f"machine {elsewhere}"
    wanted = str(row.config.get("device", "auto"))
    if wanted == "auto":
        wanted = "cuda" if Path("/dev/nvidia0").exists() else "cpu"
    return "cuda:0" if wanted == "cuda" else wanted


def overdue(run: RunDir, grace: float) -> bool:
    """Whether the job was asked to stop more than `grace` seconds ago."""
    try:
        return time.time() - run.stop_path.stat().st_mtime > grace
    except FileNotFoundError:
        return False


def cause_of_death(process: launch.Process, words: str) -> str:
    """One sentence about a worker that is gone without a closing event; `words` are its last on stderr."""
    code = launch.exit_code(process.pid)
    if code == -signal.SIGKILL:
        return "The worker was killed (signal 9); the machine may have run out of memory."
    if code is not None and code < 0:
        return f"The worker was ended by {launch.signal_name(code)}."
    if code is not None:
        last = words.rsplit("\n", 1)[-1]
        if code == launch.TOLD and last:
            return last
        return f"The worker ended with exit code {code}: {last or 'it gave no reason.'}"
    return "The worker process is gone and gave no reason; it may have been killed or run out of memory."


def latest_progress(path: Path, last_bytes: int = 16384) -> Progress | None:
    """What the job in run directory `path` last said about how far it is."""
    events = path / "events.jsonl"
    try:
        offset = max(0, events.stat().st_size - last_bytes)
    except FileNotFoundError:
        return None
    said = [e.event for e in tail(events, offset).envelopes if isinstance(e.event, Progress)]
    return said[-1] if said else None
