"""Token traces lie in Parquet files of the run directories; a torn one must not hide all others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import duckdb

from storage.file.walls import no_wildcards
from storage.literals import literal
from storage.sql import block

MAGIC = b"PAR1"
"""What a whole Parquet file begins and ends with (Apache Parquet format, “File format”)."""
TORN = ".torn"


def set_aside_torn(runs_root: Path | None) -> list[Path]:
    """Rename files of traces that are not whole, so that `token_traces` reads all others; the new paths.

    A disk that was full, or a machine that lost power, leaves such files.  Cheap: twelve bytes of each file.
    """
    return [_set_aside(path) for path in _files(runs_root) if not _is_whole(path)]


def make_view(cursor: Any, runs_root: Path) -> None:
    """Make the view that reads all files of traces, for which DuckDB looks into one, without the damaged."""
    pattern = literal(no_wildcards(str(runs_root)) + "/*/traces/*.parquet")
    sql = block("store", "traces_view").replace("{pattern}", pattern)
    set_aside_torn(runs_root)
    try:
        cursor.execute(sql)
    except duckdb.Error:
        set_aside_unreadable(runs_root, cursor)
        cursor.execute(sql)


def set_aside_unreadable(runs_root: Path | None, cursor: Any) -> list[Path]:
    """Rename files of traces that look whole and that DuckDB cannot read; the new paths."""
    moved = []
    for path in _files(runs_root):
        try:
            cursor.execute("SELECT count(*) FROM parquet_schema(?)", [no_wildcards(str(path))]).fetchall()
        except duckdb.Error:
            if path.exists():
                moved.append(_set_aside(path))
    return moved


def _files(runs_root: Path | None) -> list[Path]:
    return list(runs_root.glob("*/traces/*.parquet")) if runs_root is not None else []


def _set_aside(path: Path) -> Path:
    aside = path.with_name(path.name + TORN)
    os.replace(path, aside)
    return aside


def torn_traces(run_dir: Path) -> list[Path]:
    """The files of traces of one run that were set aside."""
    return sorted((run_dir / "traces").glob(f"*.parquet{TORN}"))


def _is_whole(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            begins = file.read(len(MAGIC)) == MAGIC
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(MAGIC) - 4))
            footer, ends = file.read(4), file.read()
            room = size - 2 * len(MAGIC) - 4
            return begins and ends == MAGIC and 0 < int.from_bytes(footer, "little") <= room
    except FileNotFoundError:
        return True  # gone in this moment, with its run
    except OSError:  # a folder, or nothing that may be read
        return False
