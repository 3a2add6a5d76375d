"""The end of a connection on the person's machine: `python -m engine.elsewhere.carrier RUN_DIR`.

To the workbench it is the run's worker: it holds the lock, appends to `events.jsonl`, stops when asked and
ends as the worker there has ended.  A connection that is lost is made again; meanwhile the run goes on.
Started again after it was killed, it finds the run where that has come to.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from types import FrameType
from typing import BinaryIO

import msgspec

from engine.elsewhere.files import GIVEN, OWN, made, pieces, safe_path
from engine.elsewhere.host import PYTHON, SILENT_SECONDS, Host, agent_command, host_of
from engine.elsewhere.messages import (
    Alive,
    Ask,
    Begin,
    Chunk,
    Ended,
    File,
    Given,
    Log,
    Needs,
    Refused,
    hear,
    pass_greeting,
    write_message,
)
from engine.elsewhere.version import version
from engine.errors import WorkbenchError
from engine.files import PRIVATE_FOLDER, write_atomic, writing_file
from engine.protocol import launch
from engine.protocol.configs.endpoint import KEY
from engine.protocol.events import Finished, Stopped
from engine.protocol.log import EventLog, last_event
from engine.protocol.rundir import RunDir

LOST = 255
"""With which `ssh` says that there is no connection."""
LOOK_SECONDS = 0.2
LAST_SECONDS = 2.0
"""In which `ssh` may say why a connection has ended."""
FIRST_WAIT, LONGEST_WAIT = 2.0, 60.0
"""Seconds before a lost connection is made again; twice as many each time."""
RECONNECT = "WORKBENCH_RECONNECT_SECONDS"
"""Environment variable: other seconds for the first."""


class LostError(Exception):
    """The connection has gone; its last words."""


class Carrier:
    """One run and the machine that it computes on."""

    def __init__(self, run: RunDir, host: Host) -> None:
        self._run, self._host = run, host
        self._signalled = self._reached = False
        self._said = ""
        self._files: tuple[Given, ...] = ()
        self._contents: dict[str, Path] = {}
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True

    def carry(self) -> int:
        """Follow the run to its end; the exit code that the worker's would be.

        Raises WorkbenchError: a machine that cannot be reached at the start, or an agent that refuses.
        """
        EventLog(self._run.events_path).close()  # a line that was half written when a carrier was killed goes
        wait = float(os.environ.get(RECONNECT, FIRST_WAIT))
        while True:
            try:
                return self._ending(self._connection())
            except LostError as error:
                if not self._reached:
                    raise WorkbenchError(f"{self._host.named} cannot be reached: {error}") from None
                self._say(f"The connection to {self._host.named} is lost: {error}")
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def _ending(self, ended: Ended) -> int:
        """What the worker's end is here: its log is the same."""
        print(ended.words, file=sys.stderr, flush=True)
        closing = last_event(self._run.events_path)
        if isinstance(closing, Finished):
            return launch.DONE
        if isinstance(closing, Stopped):
            return launch.STOPPED
        if ended.code is not None and ended.code < 0:
            name = launch.signal_name(ended.code)
            raise WorkbenchError(f"The worker on {self._host.named} was ended by {name}.")
        return launch.FAILED

    def _say(self, words: str) -> None:
        if words and words != self._said:
            print(words, file=sys.stderr, flush=True)
            self._said = words

    def _connection(self) -> Ended:
        """One connection from its beginning to the worker's end.  Raises LostError, WorkbenchError."""
        with _agent(self._host) as (process, to_agent, from_agent, errors):
            try:
                printed = pass_greeting(from_agent)
                if printed is not None:
                    raise LostError(printed)
                self._reached = True
                self._give(to_agent, from_agent)
                return self._follow(to_agent, from_agent)
            except (OSError, ValueError, LostError) as error:
                if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
                    raise WorkbenchError(f"{error.strerror}: {error.filename or self._run.path}.") from error
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LAST_SECONDS)
                words = _last_line(errors) or str(error) or "it ended."
                if process.poll() not in (LOST, None) and not self._reached:
                    raise WorkbenchError(
                        f"There is no agent on {self._host.named} ({self._host.python or PYTHON}): {words}"
                    ) from None
                raise LostError(words) from None

    # There

    def _give(self, to_agent: BinaryIO, from_agent: BinaryIO) -> None:
        """Say what is wanted and send what the other machine has not; nothing where the worker is at work."""
        _, config = self._run.read_config()
        if not self._files:  # models are large: once is enough
            sources = dict(_given(self._run))
            self._files = tuple(Given(path, _sha256(source)) for path, source in sorted(sources.items()))
            self._contents = {each.sha256: sources[each.path] for each in self._files}
        begin = Begin(
            version(), self._run.path.name, self._host.folder, self._host.launcher, config.processes,
            _size(self._run.events_path), self._files, made(self._run), self._host.slurm,
            launch.Nodes(config.machines, self._host.interface) if config.machines > 1 else None,
        )  # fmt: skip
        write_message(to_agent, begin)

    def _send(self, to_agent: BinaryIO, needs: Needs) -> None:
        for name in needs.sha256:
            if name not in self._contents:
                raise ValueError("it asks for a file that it was not offered")
            with self._contents[name].open("rb") as file:
                for data, last in pieces(file):
                    write_message(to_agent, Chunk(data, last))

    # And back

    def _follow(self, to_agent: BinaryIO, from_agent: BinaryIO) -> Ended:
        """Take in what comes until the worker has ended, and pass on what the person wants."""
        came = hear(from_agent)
        asked: set[str] = set()
        heard = time.monotonic()
        incoming = _Incoming(self._run)
        while True:
            for what in self._wanted() - asked:
                write_message(to_agent, Ask(what))
                asked.add(what)
            try:
                message = came.get(timeout=LOOK_SECONDS)
            except Empty:
                if time.monotonic() - heard > SILENT_SECONDS:
                    raise LostError("it has said nothing for a minute.") from None
                continue
            heard = time.monotonic()
            match message:
                case None:
                    raise LostError
                case Exception():
                    raise LostError(f"it says what cannot be read ({message}).")
                case Needs():
                    self._send(to_agent, message)
                case File():
                    incoming.take(message)
                case Log():
                    _append(self._run.events_path, message.data)
                case Refused():
                    raise WorkbenchError(f"{self._host.named}: {message.why}")
                case Alive():
                    self._say(message.words)
                case Ended():
                    return message

    def _wanted(self) -> set[str]:
        stop = self._signalled or self._run.stop_path.exists()
        asked = {"stop": stop, "pause": self._run.pause_path.exists()}
        return {what for what, wanted in asked.items() if wanted}


class _Incoming:
    """Files that come back, each whole or not at all, and none but what a worker makes."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._parts: Iterator[None] | None = None

    def take(self, piece: File) -> None:
        """One piece of a file.  Raises WorkbenchError for a path that is none of the worker's."""
        path = self.place(piece.path)
        if self._parts is None:
            self._parts = self._writing(path)
            next(self._parts)
        self._file.write(piece.data)
        if piece.last:
            self._changed = piece.changed
            with suppress(StopIteration):
                next(self._parts)
            self._parts = None

    def _writing(self, path: Path) -> Iterator[None]:
        path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        with writing_file(path) as temporary:
            with temporary.open("wb") as self._file:
                yield
            os.utime(temporary, ns=(self._changed, self._changed))

    def place(self, path: str) -> Path:
        """Where a file of that name goes."""
        relative = safe_path(path)
        hidden = relative is None or any(part.startswith(".") for part in relative.parts)
        if relative is None or hidden or relative.parts[0] in OWN:
            raise WorkbenchError(f"The other machine sends “{path[:200]}”, which is no file of a worker.")
        place = self._run.path / relative
        if not place.parent.resolve().is_relative_to(self._run.path.resolve()):
            raise WorkbenchError(f"“{path[:200]}” leads out of the run directory.")
        return place


@contextmanager
def _agent(host: Host) -> Iterator[tuple[subprocess.Popen[bytes], BinaryIO, BinaryIO, BinaryIO]]:
    """An agent's process, what goes to it, what comes from it, and what it wrote to its error output."""
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                agent_command(host), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                env=_environment(),
            )  # fmt: skip
        except OSError as error:
            raise WorkbenchError(
                f"{agent_command(host)[0]} could not be started: {error.strerror}."
            ) from error
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process, process.stdin, process.stdout, errors  # type: ignore[misc]
        finally:
            process.terminate()
            with suppress(OSError):
                process.stdin.close()
            process.wait()
            process.stdout.close()


def _environment() -> dict[str, str]:
    """An agent is none of what the carrier's run has started, and knows no key."""
    return {name: value for name, value in os.environ.items() if name not in (launch.RUN_VARIABLE, KEY)}


def _given(run: RunDir) -> Iterator[tuple[str, Path]]:
    """What the worker reads: the path that it has in the run directory there, and where it lies here."""
    yield "config.toml", run.config_path
    for path in sorted((run.path / "inputs").rglob("*")):
        if path.is_file():
            yield path.relative_to(run.path).as_posix(), path
    inputs = run.inputs
    models, tables = dict(inputs.models), dict(inputs.tables)
    for role, model in inputs.models.items():
        folder = Path(model.folder).expanduser()
        if folder.is_dir():
            place = (
                f"{GIVEN}{role}/{folder.resolve().name or role}"  # sentences name a folder by its last part
            )
            models[role] = msgspec.structs.replace(model, folder=place)
            yield from _below(folder, place)
    for name, table in inputs.tables.items():
        if not (run.path / table).is_relative_to(run.path):
            tables[name] = Path(f"{GIVEN}{name}")
            yield from _below(Path(table), f"{GIVEN}{name}")
    there = run.path / "given-inputs.json"
    changed = msgspec.structs.replace(inputs, models=models, tables=tables)
    write_atomic(there, msgspec.json.encode(changed, enc_hook=str))
    yield "inputs.json", there


def _below(place: Path, name: str) -> Iterator[tuple[str, Path]]:
    if place.is_file():
        yield name, place
    for path in sorted(place.rglob("*")):
        if path.is_file():
            yield f"{name}/{path.relative_to(place).as_posix()}", path


def _append(path: Path, lines: bytes) -> None:
    if not lines.endswith(b"\n"):
        raise ValueError("half a line of the log")
    with path.open("ab") as file:
        file.write(lines)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _last_line(errors: BinaryIO) -> str:
    errors.seek(0)
    lines = re.sub(r"[^\x20-\x7e\n]", " ", errors.read().decode("utf-8", "replace")).strip().splitlines()
    return lines[-1].strip() if lines else ""


def main(arguments: list[str] | None = None) -> int:
    """Carry the run of a run directory; an exit code as a worker's, or `launch.TOLD`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("Usage: python -m engine.elsewhere.carrier RUN_DIR", file=sys.stderr)
        return launch.USAGE
    run = RunDir(Path(arguments[0]))
    os.umask(0o077)
    with launch.only_worker(run) as alone:
        if not alone:
            print(f"Another process is busy with {run.path}.", file=sys.stderr)
            return launch.FAILED
        launch.record_process(run, launch.this_process())
        try:
            host = host_of(run)
            if host is None:
                raise WorkbenchError(f"{run.path} does not say on which machine it computes.")
            return Carrier(run, host).carry()
        except WorkbenchError as error:
            print(error, file=sys.stderr)
            return launch.TOLD


if __name__ == "__main__":
    sys.exit(main())
