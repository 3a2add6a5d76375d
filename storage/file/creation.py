"""A new database appears whole or not at all, and one process alone makes it.

It is built under a name that nobody else uses and then gets its own by a hard link, which fails when another
process was quicker: a database that stands there is never replaced, truncated or removed.  An empty file, as
`mktemp` makes it, is replaced under a lock on itself.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from storage.errors import NotADatabaseError, StoreError
from storage.file.held import is_held

BUILDING = ".building"
"""How the name of a database ends that is being made."""


def check_place(file: Path) -> bool:
    """Whether a database is still to be made at `file`.

    Raises StoreError for what is no regular file (a pipe would be waited for without end), NotADatabaseError
    for other content, and StoreError when the file is missing or empty while its write-ahead log is not: what
    was stored last is in that log, and a new database would do away with it.
    """
    if "?" in str(file):  # DuckDB puts the log's ending before it, as in the address of a page
        raise StoreError(f"{file} cannot be a database: its path has a “?”. Give another with --db.")
    try:
        log = _size(Path(f"{file}.wal"))  # before the file: whoever makes one makes the file first
        status = _stat(file)
        if status is None or (stat.S_ISREG(status.st_mode) and not status.st_size):
            if log:
                raise StoreError(
                    f"The database {file} is {'missing' if status is None else 'empty'}, and its log "
                    f"{file.name}.wal beside it is not. Put the database back, or move the log away to begin "
                    "a new one."
                )
            return True
        if stat.S_ISDIR(status.st_mode):
            raise StoreError(f"{file} is a folder; give the path of a database file.")
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"{file} is not a regular file; give the path of a database file.")
        if is_held(file):  # and so it is one; to read it here would let the lock go
            return False
        with file.open("rb") as opened:
            # DuckDB opens a CSV or Parquet file too, but in memory: what is stored would be lost.
            if opened.read(12)[8:] != b"DUCK":
                raise NotADatabaseError(f"{file} is not a workbench database; give another path with --db.")
    except OSError as error:
        raise StoreError(f"The database {file} cannot be read: {error.strerror}.") from error
    return False


def create(file: Path, build: Callable[[Path], None]) -> None:
    """Make the database at `file` by `build(path)`, unless another process has made it meanwhile.

    `build` makes a whole database at the path that it is given, and closes it.  What it raises passes, and
    nothing is left.  Raises StoreError when the place cannot be written.
    """
    try:
        target = file.resolve()
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        built = target.with_name(f".{target.name}.{secrets.token_hex(8)}{BUILDING}")
        try:
            build(built)
            _put_in_place(built, target)
        finally:
            for left in (built, Path(f"{built}.wal")):
                left.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"The database {file} cannot be made: {error.strerror}.") from error


def unfinished(file: Path) -> list[Path]:
    """What processes that were killed while they made the database `file` have left beside it."""
    target = file.resolve()
    names = [name for name in os.listdir(target.parent) if BUILDING in name]
    return sorted(target.with_name(name) for name in names if name.startswith(f".{target.name}."))


def _put_in_place(built: Path, target: Path) -> None:
    with suppress(FileExistsError):
        try:
            os.link(built, target)
        except FileExistsError:
            _replace_empty(built, target)
        except OSError:  # no hard links here: an empty file is as exclusive
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            _replace_empty(built, target)
    _sync(target.parent)


def _replace_empty(built: Path, target: Path) -> None:
    """Put `built` in the place of an empty file; nothing is done when it is no longer there, or not empty.

    Whoever does this holds the lock of the file that is replaced, so of two one finds it replaced.
    """
    if _size(target):  # and not opened: this process may hold it
        return
    with target.open("rb") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        held, there = os.fstat(opened.fileno()), _stat(target)
        if there is not None and os.path.samestat(held, there) and not held.st_size:
            os.replace(built, target)


def _sync(folder: Path) -> None:
    """A name is on disk when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems have nothing to do here and say so
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _size(path: Path) -> int:
    status = _stat(path)
    return status.st_size if status else 0
