"""What the last look at the jobs of a store saw, so that the next one costs nothing where nothing moved.

Jobs are looked at several times a second, for hours, beside a training that wants every core.  A look asks
the system for the size of a file and whether a process lives; the database is asked only when one of them
has changed, or the store has.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from engine.protocol import launch
from engine.protocol.rundir import RunDir

ANYWAY = 10.0  # seconds after which everything is looked at, whatever moved
WAITING = 1.0  # the same while a run waits for something that nobody here can see
SHARE = 500.0  # taking in what a job says may cost one part in so many
LONGEST = 10.0  # seconds that what a job says may lie untaken


def size(path: Path) -> int:
    """Bytes of a file; 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@dataclass
class Watched:
    """A running job."""

    run: RunDir
    process: launch.Process | None
    offset: int
    """Bytes of its log that have been taken in."""
    not_before: float = 0.0
    """When more of its log may be taken in, by the monotonic clock."""

    def moved(self, now: float) -> bool:
        """Whether it has ended, was asked to, or has said something that it is time to take in."""
        process = self.process
        if process is None or not launch.alive(process.pid, process.started):
            return True
        if now >= self.not_before and size(self.run.events_path) != self.offset:
            return True
        return self.run.stop_path.exists()


@dataclass
class Pulse:
    """The looks at one store.  Whoever looks holds `lock`."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    watched: dict[str, Watched] = field(default_factory=dict)
    _changes: int = -1
    _until: float = 0.0

    def quiet(self, changes: int) -> bool:
        """Whether nothing has moved since `looked`; `changes` is that number of the store."""
        now = time.monotonic()
        if changes != self._changes or now >= self._until:
            return False
        return not any(watched.moved(now) for watched in self.watched.values())

    def may_read(self, run_id: str) -> bool:
        """Whether it is time to take in what a living job has said."""
        watched = self.watched.get(run_id)
        return watched is None or time.monotonic() >= watched.not_before

    def took(
        self, run_id: str, run: RunDir, process: launch.Process | None, offset: int, cost: float
    ) -> None:
        """What was read of a running job, which took `cost` seconds of the processor; 0 for nothing."""
        before = self.watched.get(run_id)
        not_before = before.not_before if before is not None else 0.0
        if cost:
            not_before = time.monotonic() + min(LONGEST, SHARE * cost)
        self.watched[run_id] = Watched(run, process, offset, not_before)

    def looked(self, changes: int, running: Iterable[str], *, waiting: bool) -> None:
        """All was looked at; `running` are the jobs to watch, `waiting` says whether some run waits."""
        going = set(running)
        self.watched = {run_id: watched for run_id, watched in self.watched.items() if run_id in going}
        self._changes = changes
        self._until = time.monotonic() + (WAITING if waiting else ANYWAY)
