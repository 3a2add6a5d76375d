"""DuckDB's exceptions as sentences for a person."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from storage.errors import (
    DiskFullError,
    LockedError,
    MemoryFullError,
    NewerSchemaError,
    NotADatabaseError,
    StoreError,
)

FULL = (
    "no space left",
    "could not write",
    "disk quota",
    "file too large",
    "failed to write",
    "out of disk",
    "max_temp_directory_size",  # what does not fit into memory does not fit onto the disk either
)
NO_LOG = re.compile(r'Cannot open file "[^\n]*\.wal": ([^\n"]+?)\.?\s*$')


@contextmanager
def told(path: Path | None) -> Iterator[None]:
    """Turn what the file can do to us into a StoreError; mistakes in SQL pass as they are."""
    try:
        yield
    except duckdb.Error as error:
        fault = fault_of(error, path)
        if fault is None:
            raise
        raise fault from error


def fault_of(error: duckdb.Error, path: Path | None) -> StoreError | None:
    """The sentence for `error`, or None where the statement and not the file is at fault."""
    text = str(error)
    low = text.lower()
    name = str(path) if path else "in memory"
    if "lock is held" in low or "could not set lock" in low:
        return _locked(text, name)
    if "not a valid duckdb database file" in low:
        return NotADatabaseError(f"{name} is not a workbench database; give another path with --db.")
    if "version number" in low and "read" in low:
        return NewerSchemaError(
            f"The database {name} was written by a newer DuckDB; update the workbench to open it."
        )
    if any(sign in low for sign in FULL):
        return DiskFullError(
            f"The disk is full: nothing more can be written to {name}. Free some space and try again."
        )
    # A COMMIT says so in an error of the transaction.
    if isinstance(error, duckdb.OutOfMemoryException) or "failed to allocate" in low:
        return MemoryFullError(
            "This needs more memory than the database may use (2 GB); ask for less at once."
        )
    if "has been invalidated" in low:
        return StoreError(
            f"The database {name} closed itself after a failed write. What was confirmed before is kept; "
            "start the workbench again."
        )
    if "replaying wal" in low:
        place = re.search(r"byte position (\d+)", text)
        where = f" at byte {int(place[1]):,}" if place else ""
        return NotADatabaseError(
            f"The log {name}.wal is damaged{where}, and nothing was changed. "
            "`workbench doctor --repair` keeps it and opens the database with what stands before."
        )
    if (
        "corrupt" in low
        or "checksum" in low
        or "deserialize" in low
        or isinstance(error, duckdb.SerializationException)
    ):
        return NotADatabaseError(
            f"The database {name} is damaged: {_first_line(text)} Restore a copy of the file."
        )
    if isinstance(error, duckdb.TransactionException) and (log := NO_LOG.search(text)):
        return StoreError(f"The folder of {name} cannot be written, where its log has to lie: {log[1]}.")
    if isinstance(error, (duckdb.IOException, duckdb.FatalException, duckdb.InternalException)):
        return StoreError(f"The database {name} cannot be read or written: {_first_line(text)}")
    return None


def _locked(text: str, name: str) -> LockedError:
    match = re.search(r"\(PID (\d+)\)", text)
    pid = int(match[1]) if match else None
    command = _command(pid) if pid else None
    holder = f"process {pid}" if pid else "another process"
    if command:
        holder += f" ({command})"
    return LockedError(
        f"{name} is open in {holder}. Close it there, or give another database with --db.",
        pid=pid,
        command=command,
    )


def _command(pid: int) -> str | None:
    import psutil  # only when there is a conflict

    try:
        return " ".join(psutil.Process(pid).cmdline())[:120] or None
    except psutil.Error:
        return None


def _first_line(text: str) -> str:
    line = text.strip().splitlines()[0]
    return re.sub(r"^[A-Za-z ]*Error: ", "", line).rstrip(".") + "."
