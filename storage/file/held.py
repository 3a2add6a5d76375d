"""Which database files this process has open, and how to copy one without letting go of it.

A POSIX process has one lock on a file, whatever number of times it has opened it, and closing any of its
descriptors gives that lock up (fcntl(2), "Advisory record locking").  DuckDB keeps others out by such a lock.
So whatever opens and closes a database in the process that holds it, to copy it for instance, lets every
other process in.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from pathlib import Path

from storage.errors import DiskFullError, StoreError

Key = tuple[int, int]
_held: Counter[Key] = Counter()
_guard = threading.Lock()
COPY = """
import os, shutil, sys
source, target = sys.argv[1:]
os.umask(0o077)
with open(source, "rb") as reading, open(target, "xb") as writing:
    shutil.copyfileobj(reading, writing, 1 << 20)
    writing.flush()
    os.fsync(writing.fileno())
"""


def hold(file: Path) -> Key:
    """Note that this process has opened `file`; what `let_go` takes."""
    status = file.stat()
    key = (status.st_dev, status.st_ino)
    with _guard:
        _held[key] += 1
    return key


def let_go(key: Key) -> None:
    """Note that one opening of the file that `hold` named is closed."""
    with _guard:
        _held[key] -= 1
        if _held[key] <= 0:
            del _held[key]


def is_held(file: Path) -> bool:
    """Whether this process has the file open as a database, under whatever name."""
    try:
        status = file.stat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) in _held


def copy_apart(source: Path, target: Path) -> None:
    """Copy a database that this process may hold to the new file `target` (0600), whole or not at all.

    Another process does it, since this one's lock would be gone.  Raises FileExistsError, DiskFullError,
    StoreError.
    """
    if target.exists():
        raise FileExistsError(str(target))
    import subprocess  # only when a file is copied

    half = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    half.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", COPY, str(source), str(half)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            why = done.stderr.strip().rsplit("\n", 1)[-1]
            if "Errno 28" in why or "Errno 122" in why:
                raise DiskFullError(f"The disk is full: {source} cannot be copied to {target}.")
            raise StoreError(f"{source} cannot be copied to {target}: {why}")
        try:
            os.link(half, target)
        except FileExistsError:
            raise
        except OSError:  # no hard links here
            half.rename(target)
    finally:
        half.unlink(missing_ok=True)
