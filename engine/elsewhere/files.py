"""Files that go from one machine to the other, and which of a run directory do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from engine.elsewhere.messages import PART
from engine.protocol.rundir import RunDir

GIVEN = "given/"
"""Where models and features that lie outside of the run directory here stand in the one there."""
OWN = frozenset(
    (
        *("config.toml", "inputs.json", "inputs", "given", "given-inputs.json", "request.json", "host.json"),
        *("process.json", "started.json", "lock", "events.jsonl", "stop", "pause", "ranks", "checkpoints"),
        *("stdout.log", "stderr.log"),
    )
)
"""What does not travel back: what was given, what belongs to one machine; checkpoints stay where a run
resumes."""
States = dict[str, tuple[int, int]]
"""Size and time of change, in nanoseconds, by path in the run directory."""


def made(run: RunDir) -> States:
    """What the worker made, nothing half-written among it."""
    states: States = {}
    for folder, folders, names in os.walk(run.path):
        left_out = OWN if Path(folder) == run.path else frozenset[str]()
        folders[:] = sorted(each for each in folders if not each.startswith(".") and each not in left_out)
        for name in sorted(names):
            path = Path(folder, name)
            if name.startswith(".") or name in left_out or path.is_symlink():
                continue
            with suppress(FileNotFoundError):
                state = path.stat()
                states[path.relative_to(run.path).as_posix()] = state.st_size, state.st_mtime_ns
    return states


def pieces(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """What a file holds, `PART` bytes at a time, and whether it is the last of it."""
    last = False
    while not last:
        data = file.read(PART)
        last = len(data) < PART
        yield data, last


def safe_path(path: str) -> PurePosixPath | None:
    """A path that stays within the folder that it is relative to; None for another."""
    pure = PurePosixPath(path)
    plain = not pure.is_absolute() and pure.parts and str(pure) == path
    return pure if plain and ".." not in pure.parts and "\0" not in path else None
