"""Some rows of a Parquet file, so that a long one is taken in by parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storage.file.walls import no_wildcards
from storage.store import Store

Span = tuple[int, int]
"""The first row and the one after the last, counted from 0."""
ALL_ROWS: Span = (0, 2**62)


def rows_of(path: Path, rows: Span) -> dict[str, Any]:
    """Parameters of a block that reads `path` by `file_row_number`."""
    return {"path": no_wildcards(str(path)), "first": rows[0], "end": rows[1]}


def parquet_rows(store: Store, path: Path) -> int:
    """How many rows a file has, from its footer."""
    row = store.row("SELECT num_rows FROM parquet_file_metadata($path)", {"path": no_wildcards(str(path))})
    return int(row[0]) if row else 0
