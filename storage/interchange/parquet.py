"""Parquet, read in batches by DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb

from storage.interchange.rows import Row, Table, wrong

BATCH = 512  # rows
KEPT = ("VARCHAR", "BIGINT", "INTEGER", "SMALLINT", "TINYINT", "DOUBLE", "FLOAT", "BOOLEAN")


def open_parquet(path: Path) -> Table:
    """Text, numbers, lists and structs stay what they are; every other type is read as text."""
    connection = duckdb.connect(":memory:", config={"memory_limit": "1GB", "preserve_insertion_order": True})
    try:
        described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
    except duckdb.Error as error:
        connection.close()
        raise wrong(path, _reason(error)) from None
    types = {str(name): str(kind) for name, kind, *_ in described}
    return Table(path, tuple(types), _rows(path, connection, types), "row")


def _rows(path: Path, connection: duckdb.DuckDBPyConnection, types: dict[str, str]) -> Iterator[Row]:
    chosen = ", ".join(
        _quoted(name) if _kept(kind) else f"{_quoted(name)}::VARCHAR" for name, kind in types.items()
    )
    try:
        counted = connection.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchone()
        total = max(counted[0] if counted else 0, 1)
        connection.execute(f"SELECT {chosen} FROM read_parquet(?)", [str(path)])
        number = 0
        while batch := connection.fetchmany(BATCH):
            for values in batch:
                number += 1
                yield Row(number, dict(zip(types, values, strict=True)), number / total)
    except duckdb.Error as error:
        raise wrong(path, _reason(error)) from None
    finally:
        connection.close()


def _kept(kind: str) -> bool:
    return kind in KEPT or kind.endswith("[]") or kind.startswith("STRUCT")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _reason(error: duckdb.Error) -> str:
    text = str(error)
    if "magic bytes" in text or "too small" in text.lower():
        return "this is not a whole Parquet file; it is truncated or something else"
    return f"it cannot be read as Parquet ({text.strip().splitlines()[0]})"
