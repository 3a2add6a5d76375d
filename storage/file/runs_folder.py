"""The folder of run directories beside a store's file, wherever both have been moved to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from storage.file.traces import make_view
from storage.literals import literal
from storage.sql import block

EMPTY = ("no-run", "traces", "none.parquet")
"""DuckDB refuses a pattern that matches no file, so one empty file of traces is always there."""


def point_traces(connection: Any, folder: Path | None, known: str | None) -> None:
    """Make `token_traces` read the run directories in `folder`; the store remembers `known`.

    Raises OSError where the folder cannot be written.
    """
    empty = folder.joinpath(*EMPTY) if folder is not None else None
    root = "" if folder is None else str(folder)
    if known == root and (empty is None or empty.exists()):
        return
    if folder is None or empty is None:
        connection.execute(block("store", "no_traces_view"))
    else:
        for each in (folder, empty.parent.parent, empty.parent):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        connection.execute(block("store", "empty_traces").replace("{file}", literal(str(empty))))
        empty.chmod(0o600)
        make_view(connection, folder)
    connection.execute(block("store", "remember_runs_root"), {"root": root})


def follow_moved(
    connection: Any, folder: Path | None, transaction: Callable[[], AbstractContextManager[Any]]
) -> None:
    """Store anew the paths of runs that were moved together with the file, each in a transaction.

    Such a run was elsewhere when its path was stored, and its directory now lies in `folder`.  What reads the
    tables then always finds a path that it can open.  A file that was copied without its runs goes on with
    those at the old place.
    """
    if folder is None:
        return
    strayed = connection.execute(block("store", "strayed_runs"), {"root": str(folder)}).fetchall()
    for run_id in [run_id for (run_id,) in strayed if (folder / run_id).is_dir()]:
        with transaction() as cursor:
            for name in ("moved_run", "moved_artifacts", "moved_policies"):
                cursor.execute(block("store", name), {"run_id": run_id, "folder": f"{folder}/{run_id}"})
