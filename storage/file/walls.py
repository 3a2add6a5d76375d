"""DuckDB's own walls: after them no SQL, whoever wrote it, reaches a file that is not the store's.

`enable_external_access` off refuses every other file, network addresses, ATTACH and LOAD; it holds for the
whole database in this process and cannot be turned on again.  Allowed stay the database itself, its spill
folder and the run directories, where token traces and what jobs hand over lie.  What people export is written
there first and then moved to where they want it.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EVENTS = "events.jsonl"
OUT = "no-run/out"
"""Where exports pass through, below the run directories."""


def lock(cursor: Any, folders: Sequence[Path], *, settings: bool) -> None:
    """Close all but `folders`; with `settings`, let nothing be set any more either."""
    if cursor.execute("SELECT current_setting('enable_external_access')").fetchone()[0]:
        # A pattern is checked as it is written, and what it finds once more.
        names = dict.fromkeys(name for folder in folders for name in (str(folder), no_wildcards(str(folder))))
        allowed = ", ".join("'" + name.replace("'", "''") + "/'" for name in names)
        cursor.execute(f"SET GLOBAL allowed_directories = [{allowed}]")
        cursor.execute("SET GLOBAL enable_external_access = false")
    if settings and not cursor.execute("SELECT current_setting('lock_configuration')").fetchone()[0]:
        cursor.execute("SET GLOBAL lock_configuration = true")


def strayed(run_dirs: Sequence[str], root: Path | None) -> list[Path]:
    """Run directories that lie elsewhere, of a file that was copied without them.

    A file that somebody else has made may name any folder; a run directory is known by its events.
    """
    outside = [
        Path(run_dir) for run_dir in run_dirs if root is None or not Path(run_dir).is_relative_to(root)
    ]
    return [folder for folder in outside if len(folder.parts) > 2 and (folder / EVENTS).is_file()]


def outbox(root: Path | None) -> Path:
    """A private folder that the walls leave open."""
    if root is None:
        return Path(tempfile.mkdtemp(prefix="workbench-out-"))
    folder = root / OUT
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def hand_over(written: Path, target: Path) -> None:
    """Move a whole file to `target`, at once there or not at all, also to another file system."""
    try:
        os.replace(written, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        near = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            shutil.copyfile(written, near)
            near.chmod(0o600)
            os.replace(near, target)
        finally:
            near.unlink(missing_ok=True)
            written.unlink(missing_ok=True)


def no_wildcards(path: str) -> str:
    """A path as DuckDB reads it: one file, though its name has characters of a pattern."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)


def bytes_of(limit: str) -> float:
    """`2GB` as a number of bytes."""
    number, unit = limit.rstrip("KMGTB"), limit.lstrip("0123456789.")
    return float(number) * 1000 ** ("B", "KB", "MB", "GB", "TB").index(unit)
