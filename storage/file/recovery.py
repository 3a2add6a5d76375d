"""What an end in the middle of writing has left: the log is looked at before DuckDB reads it.

DuckDB reads a log back up to the first entry that is not whole, says nothing of what follows, and does away
with the log when it has merged it.  So a log that does not end where an entry ends is kept under a name of
its own first, and the person is told how many rows came back.

The layout is DuckDB's (`src/storage/write_ahead_log.cpp`, version 2 of the log): a header of 8 bytes, then
entries of size (8 bytes, little-endian), checksum (8 bytes) and content.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import duckdb

from storage.file.held import is_held

HEADER = b"\x64\x00\x62\x65\x00"
"""Field 100, the kind of entry (98, a version); field 101, the version that follows."""
HEADER_END = b"\xff\xff"
COUNTS = "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary"


@dataclass(frozen=True, slots=True)
class Recovery:
    """A log that was not whole.  `rows`: those that came back from it, None where they were not counted."""

    kept: Path
    size: int
    whole: int
    rows: int | None = None
    before: int | None = None

    @property
    def sentence(self) -> str:
        """What a person should know."""
        lost = self.size - self.whole
        came = (
            "What stands before that place came back"
            if self.rows is None
            else f"{self.rows:,} row{'s' * (self.rows != 1)} came back from it"
        )
        if not self.whole:
            came = "nothing of it could be read"
        return (
            f"The log of the last session was not whole: {came}, and {lost:,} of its {self.size:,} bytes "
            f"could not be read. They are kept in {self.kept}."
        )


def look(file: Path) -> Recovery | None:
    """Look at the log of a database that nobody has open; None when there is none, or it is whole.

    A log that is not whole is copied first; one that is no log at all is moved away, because DuckDB would go
    on writing behind it what it could not read again.
    """
    log = Path(f"{file}.wal")
    try:
        size = log.stat().st_size
        if not size or is_held(file):
            return None
        with log.open("rb") as opened:
            whole = whole_bytes(opened, size)
        if whole == size:
            return None
        before = rows_without_log(file)
        kept_log = _moved(file, log) if not whole else keep(log)
    except OSError:  # it went in this moment, with the process that had it
        return None
    return None if kept_log is None else Recovery(kept_log, size, whole, before=before)


def came_back(recovery: Recovery, connection: Any) -> Recovery:
    """The same with the number of rows that the open database has more than it had without its log."""
    if recovery.before is None:
        return recovery
    with suppress(duckdb.Error):
        return replace(recovery, rows=max(0, count_rows(connection) - recovery.before))
    return recovery


def whole_bytes(log: BinaryIO, size: int, until: int | None = None) -> int:
    """How many bytes of a log of `size` bytes are a header and whole entries; 0 when it is no log.

    With `until`, only entries that end before that byte count.

    A header of another version than this one knows is taken for whole: DuckDB says what it thinks of it.
    """
    start = log.read(len(HEADER) + 3)
    if not start.startswith(HEADER) or len(start) < len(HEADER) + 3:
        return 0
    if start[-2:] != HEADER_END:
        return size
    at = len(start)
    while at < size:
        head = log.read(16)
        length = int.from_bytes(head[:8], "little")
        if len(head) < 16 or at + 16 + length > min(size, size if until is None else until):
            return at
        log.seek(length, os.SEEK_CUR)
        at += 16 + length
    return at


def cut_damaged(file: Path) -> Recovery | None:
    """Cut the log of a database before the entry that DuckDB refuses, after keeping a copy of it.

    None when DuckDB reads the whole log, or another process holds the database.
    """
    log = Path(f"{file}.wal")
    place = damaged_at(file)
    if place is None:
        return None
    size = log.stat().st_size
    before = rows_without_log(file)
    with file.open("r+b") as database, log.open("rb") as opened:
        try:
            fcntl.lockf(database, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return None
        whole = whole_bytes(opened, size, until=place)
        kept_log = keep(log)
        os.truncate(log, whole)
    return Recovery(kept_log, size, whole, before=before)


def damaged_at(file: Path) -> int | None:
    """The byte of the log at which DuckDB stops with an error; nothing is changed by asking."""
    try:
        duckdb.connect(str(file), read_only=True).close()
    except duckdb.Error as error:
        match = re.search(r"replaying wal.*byte position (\d+)", str(error), re.IGNORECASE | re.DOTALL)
        return int(match[1]) if match else None
    return None


def keep(log: Path) -> Path:
    """A copy of a log under a name of its own."""
    for number in count(1):
        kept_log = log.with_name(f"{log.name}.kept-{number}")
        with suppress(FileExistsError):
            descriptor = os.open(kept_log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as target, log.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
                os.fsync(target.fileno())
            return kept_log
    raise AssertionError("counting never ends")


def _moved(file: Path, log: Path) -> Path | None:
    """Copy and empty what is no log, while nobody has the database open."""
    with file.open("r+b") as database:
        try:
            fcntl.lockf(database, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return None  # whoever opens it now is told who has it
        kept_log = keep(log)
        os.truncate(log, 0)
        return kept_log


def rows_without_log(file: Path) -> int | None:
    """How many rows all tables have in the file itself; None where that cannot be seen."""
    alone = file.resolve().with_name(f".{file.name}.{secrets.token_hex(8)}.look")
    try:
        os.link(file.resolve(), alone)
    except OSError:
        return None
    try:
        with duckdb.connect(str(alone), read_only=True) as connection:
            return count_rows(connection)
    except duckdb.Error:
        return None
    finally:
        alone.unlink()


def count_rows(connection: Any) -> int:
    """The rows of all tables of a database."""
    total = 0
    for schema, table in connection.execute(COUNTS).fetchall():
        name = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, table))
        total += int(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0])
    return total
