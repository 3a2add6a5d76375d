"""Numbered migrations: `migrations/NNNN_name.sql`, each applied in one transaction with its record.

A new file gets them all.  An existing one is copied first and checkpointed afterwards; one that is newer
than this program is refused.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from pathlib import Path

import duckdb

from storage.errors import NewerSchemaError, NotADatabaseError
from storage.file.held import copy_apart

MIGRATIONS = Path(__file__).parents[1] / "migrations"
RECORD_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    INTEGER PRIMARY KEY,
    name       VARCHAR NOT NULL,
    applied_at TIMESTAMP NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
)"""
STATE = """
SELECT (SELECT max(version) FROM schema_migrations),
       (SELECT value FROM store_settings WHERE key = 'runs_root')"""


def migrations(folder: Path = MIGRATIONS) -> list[tuple[int, Path]]:
    """(version, file), oldest first."""
    files = sorted(entry for entry in os.listdir(folder) if entry.endswith(".sql"))
    return [(int(name.split("_", 1)[0]), folder / name) for name in files]


def bring_up_to_date(
    connection: duckdb.DuckDBPyConnection, path: Path | None, *, fresh: bool, folder: Path = MIGRATIONS
) -> str | None:
    """Apply what is missing; returns the folder of runs that the file remembers."""
    known = migrations(folder)
    have, runs_root = (0, None) if fresh else _state(connection, path)
    newest = known[-1][0]
    if have > newest:
        raise NewerSchemaError(
            f"The database {path} has schema {have} and this workbench knows {newest}; "
            "update the workbench to open it."
        )
    if have == newest:
        return runs_root
    if path is not None and have:
        connection.execute("CHECKPOINT")
        _back_up(path, have)
    for version, file in known:
        if version > have:
            _apply(connection, version, file)
    connection.execute("CHECKPOINT")
    return runs_root


def _state(connection: duckdb.DuckDBPyConnection, path: Path | None) -> tuple[int, str | None]:
    try:
        row = connection.execute(STATE).fetchone()
    except duckdb.CatalogException:
        tables = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        if tables and "schema_migrations" not in tables:
            raise NotADatabaseError(
                f"{path} is a DuckDB database of something else (it has the table {min(tables)}); "
                "give another path with --db."
            ) from None
        row = (
            connection.execute("SELECT max(version), NULL FROM schema_migrations").fetchone()
            if tables
            else None
        )
    return (int(row[0] or 0), row[1]) if row else (0, None)


def _apply(connection: duckdb.DuckDBPyConnection, version: int, file: Path) -> None:
    connection.execute("BEGIN TRANSACTION")
    try:
        connection.execute(RECORD_TABLE)
        connection.execute(file.read_text(encoding="utf-8"))
        connection.execute(
            "INSERT INTO schema_migrations (version, name) VALUES (?, ?)", [version, file.stem]
        )
        connection.execute("COMMIT")
    except BaseException:
        with suppress(duckdb.Error):  # a failed COMMIT has already rolled back
            connection.execute("ROLLBACK")
        raise


def _back_up(path: Path, version: int) -> Path:
    """Copy the file before it is changed; an earlier copy is never written over."""
    target = path.with_name(f"{path.name}.schema-{version:04d}")
    for number in count(2):
        with suppress(FileExistsError):
            copy_apart(path, target)
            return target
        target = path.with_name(f"{path.name}.schema-{version:04d}-{number}")
    raise AssertionError("counting never ends")
