"""The worker of a run as an agent starts, watches and ends it: a process of this machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Protocol

import msgspec

from engine.elsewhere.host import NODES
from engine.elsewhere.messages import Begin
from engine.files import write_atomic
from engine.protocol import launch
from engine.protocol.rundir import RunDir


class PlacedWorker(Protocol):
    """A worker, wherever it computes."""

    def busy(self) -> bool:
        """Whether one is at work, or waits for its turn, that this agent has not started."""

    def start(self, begin: Begin, worker: tuple[str, ...]) -> None:
        """Start one.  Raises WorkbenchError."""

    def lives(self) -> bool:
        """Whether it has still something to do."""

    def stop(self) -> None:
        """Ask it to stop where it next can."""

    def end(self) -> None:
        """End it at once."""

    def code(self) -> int | None:
        """How it ended, as `launch.exit_code` says it."""

    def says(self) -> str:
        """What a person should know of it while it writes nothing; empty for nothing."""


def launcher_of(begin: Begin) -> list[str]:
    """What stands before the worker's command."""
    count = begin.nodes.count if begin.nodes else 1
    return shlex.split(begin.launcher.replace(NODES, str(count)))


class Spawned:
    """A process here, or a launcher's, which stands before it."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._process = self._known()

    def busy(self) -> bool:
        """Whether it holds the run directory."""
        return launch.busy(self._run)

    def start(self, begin: Begin, worker: tuple[str, ...]) -> None:
        """Start it and write down which process it is; behind a launcher it is the launcher's."""
        command = (*launcher_of(begin), *worker)
        process = launch.spawn(self._run, command, (), begin.processes, begin.nodes)
        write_atomic(self._path, msgspec.json.encode(process))
        self._process = process

    def lives(self) -> bool:
        """Whether the process does."""
        process = self._process
        return process is not None and launch.alive(process.pid, process.started)

    def stop(self) -> None:
        """By file and signal."""
        launch.request_stop(self._run)

    def end(self) -> None:
        """Kill the worker as it has named itself, and the launcher before it."""
        launch.kill(self._run)
        if self._process is not None:
            launch.record_process(self._run, self._process)
            launch.kill(self._run)

    def code(self) -> int | None:
        """Its exit code, where it is a child of this process."""
        return None if self._process is None else launch.exit_code(self._process.pid)

    def says(self) -> str:
        """Nothing: it is at work."""
        return ""

    @property
    def _path(self) -> Path:
        return self._run.path / "started.json"

    def _known(self) -> launch.Process | None:
        return launch.process_in(self._path) or launch.read_process(self._run)
