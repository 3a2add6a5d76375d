"""The end of a connection on the machine that computes: `python -m engine.elsewhere.agent`.

It lays down what the run reads, starts the worker unless one is at work, and sends the log and what the log
names.  The worker has a session of its own: it goes on when the connection, and with it this process, ends.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import BinaryIO

import msgspec

from engine.elsewhere.files import GIVEN, States, made, pieces, safe_path
from engine.elsewhere.host import NAME
from engine.elsewhere.messages import (
    GREETING,
    PART,
    Alive,
    AnyMessage,
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
    read_message,
    write_message,
)
from engine.elsewhere.slurm import BatchJob
from engine.elsewhere.version import version
from engine.elsewhere.workers import PlacedWorker, Spawned
from engine.errors import WorkbenchError
from engine.files import PRIVATE_FOLDER, write_atomic, writing_file
from engine.protocol import launch
from engine.protocol.events import Failed, Finished, Stopped
from engine.protocol.log import last_event, read_lines
from engine.protocol.rundir import RunDir

LOOK_SECONDS = 0.2
ALIVE_SECONDS = 10.0
LAST_SECONDS = 10.0
"""In which a worker that was asked to stop may do so once nobody listens any more; then it is ended."""
WORDS = 16384
"""Bytes of the error output that are told at the end."""


class CarrierGoneError(Exception):
    """The carrier has gone."""


def main(worker: tuple[str, ...] = launch.WORKER) -> int:
    """Serve one connection on standard input and output."""
    os.umask(0o077)
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever is printed is no message
    try:
        outgoing.write(GREETING)
        outgoing.flush()
        serve(sys.stdin.buffer, outgoing, worker)
    except (OSError, CarrierGoneError):  # the connection has gone
        return 1
    return 0


def serve(incoming: BinaryIO, outgoing: BinaryIO, worker: tuple[str, ...]) -> None:
    """Speak with one carrier until the worker has ended.  Raises CarrierGoneError or OSError when it goes."""
    try:
        begin = read_message(incoming)
        if not isinstance(begin, Begin):
            raise CarrierGoneError
        if begin.version != version():
            here = f"The workbench there is {version()}, here it is {begin.version}"
            raise WorkbenchError(f"{here}: install the same on both.")
        run = _run_directory(begin)
        placed: PlacedWorker = Spawned(run) if begin.slurm is None else BatchJob(run, begin.slurm)
        if not placed.busy():
            receive(run, begin, incoming, outgoing)
            if not closing_beyond(run, begin.offset):
                for left in (run.stop_path, run.pause_path, run.process_path):
                    left.unlink(missing_ok=True)
                placed.start(begin, worker)
        report(run, begin, placed, incoming, outgoing)
    except (WorkbenchError, ValueError) as error:
        write_message(outgoing, Refused(str(error)))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        write_message(
            outgoing, Refused(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ") + ".")
        )


def _run_directory(begin: Begin) -> RunDir:
    if not NAME.match(begin.run) or begin.run.startswith("."):
        raise WorkbenchError(f"“{begin.run}” is no name of a run.")
    home = Path.home() / begin.folder.removeprefix("~/")
    for folder in (home, home / "files", home / begin.run):
        folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    return RunDir(home / begin.run)


# What the worker reads


def receive(run: RunDir, begin: Begin, incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Lay down every given file; contents are kept once for all runs, and only what lacks is asked for."""
    _refuse_another(run, begin)
    kept = run.path.parent / "files"
    by_content = {each.sha256: each for each in begin.files}
    lacking = [name for name in by_content if not (kept / _content_name(name)).exists()]
    write_message(outgoing, Needs(tuple(lacking)))
    for name in lacking:
        _receive_content(kept / name, name, incoming)
    for each in begin.files:
        _lay_down(run, each, kept / each.sha256)
    inputs = run.inputs
    models = {
        role: msgspec.structs.replace(model, folder=str(run.path / model.folder))
        if model.folder.startswith(GIVEN)
        else model
        for role, model in inputs.models.items()
    }
    run.write_inputs(msgspec.structs.replace(inputs, models=models))


def _refuse_another(run: RunDir, begin: Begin) -> None:
    """Names of runs are short, and several stores may compute here."""
    with suppress(FileNotFoundError):
        before = hashlib.sha256(run.config_path.read_bytes()).hexdigest()
        if before not in [each.sha256 for each in begin.files if each.path == "config.toml"]:
            raise WorkbenchError(f"{run.path} is another run of that name there; remove it, or submit anew.")


def _content_name(sha256: str) -> str:
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise WorkbenchError(f"“{sha256[:80]}” is no SHA-256.")
    return sha256


def _receive_content(path: Path, sha256: str, incoming: BinaryIO) -> None:
    digest = hashlib.sha256()
    with writing_file(path) as temporary, temporary.open("wb") as file:
        while True:
            part = read_message(incoming)
            if not isinstance(part, Chunk):
                raise CarrierGoneError
            digest.update(part.data)
            file.write(part.data)
            if part.last:
                break
        if digest.hexdigest() != sha256:
            raise WorkbenchError("A file changed while it was sent; start the run again.")


def _lay_down(run: RunDir, each: Given, content: Path) -> None:
    relative = safe_path(each.path)
    if relative is None:
        raise WorkbenchError(f"“{each.path[:200]}” lies outside the run directory.")
    path = run.path / relative
    path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    with suppress(FileNotFoundError):
        path.unlink()
    try:
        os.link(content, path)
    except OSError:  # a file system without links
        write_atomic(path, content.read_bytes())


# The worker


def closing_beyond(run: RunDir, offset: int) -> bool:
    """Whether the run has ended in a part of its log that the carrier has not: that is told first."""
    return isinstance(last_event(run.events_path, offset), Finished | Stopped | Failed)


# What comes back


def report(run: RunDir, begin: Begin, placed: PlacedWorker, incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Send the log and what it names until the worker has ended, and pass on what the person wants."""
    asked = hear(incoming)
    have, offset, said = dict(begin.have), begin.offset, time.monotonic()
    words = ""
    stopping = False
    while True:
        # Whether it lives is asked first: what it wrote before it ended is then never missed.
        lives = placed.lives()
        lines = _new_lines(run, offset)
        if lines:
            _send_files(run, have, outgoing)
            write_message(outgoing, Log(lines))
            offset, said = offset + len(lines), time.monotonic()
        elif not lives:
            _send_files(run, have, outgoing)
            write_message(outgoing, Ended(placed.code(), f"{_last_words(run)}\n{placed.says()}".rstrip()))
            return
        elif placed.says() != words or time.monotonic() - said > ALIVE_SECONDS:
            words, said = placed.says(), time.monotonic()
            write_message(outgoing, Alive(words))
        try:
            stopping |= _heed(run, placed, asked, 0.0 if lines else LOOK_SECONDS)
        except CarrierGoneError:
            if stopping:
                _end(placed)
            raise


def _heed(
    run: RunDir, placed: PlacedWorker, asked: SimpleQueue[AnyMessage | Exception | None], seconds: float
) -> bool:
    """Do what was asked; whether that was to stop.  Raises CarrierGoneError."""
    try:
        message = asked.get(timeout=seconds) if seconds else asked.get_nowait()
    except Empty:
        return False
    match message:
        case None | Exception():
            raise CarrierGoneError
        case Ask("stop"):
            placed.stop()
            return True
        case Ask("pause"):
            launch.request_pause(run)
    return False


def _end(placed: PlacedWorker) -> None:
    """A run that was to stop, and whose person no longer waits, does not go on for ever."""
    until = time.monotonic() + LAST_SECONDS
    while placed.lives():
        if time.monotonic() > until:
            placed.end()
            return
        time.sleep(LOOK_SECONDS)


def _new_lines(run: RunDir, offset: int) -> bytes:
    """Whole lines of the log from there; behind one that is longer than any event none is sent any more."""
    data = read_lines(run.events_path, offset, limit=PART)
    return data if data.endswith(b"\n") else b""


def _send_files(run: RunDir, have: States, outgoing: BinaryIO) -> None:
    """Send what is new or has changed."""
    for path, state in made(run).items():
        if state != have.get(path):
            with suppress(FileNotFoundError), (run.path / path).open("rb") as file:
                changed = os.fstat(file.fileno()).st_mtime_ns
                for data, last in pieces(file):
                    write_message(outgoing, File(path, changed, data, last))
                have[path] = state


def _last_words(run: RunDir) -> str:
    try:
        with run.stderr_path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - WORDS))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
