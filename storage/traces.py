"""Token traces lie in Parquet files of the run directories; a torn one must not hide all others."""

from __future__ import annotations

import os
from pathlib import Path

MAGIC = b"PAR1"
"""What a whole Parquet file begins and ends with (Apache Parquet format, “File format”)."""
TORN = ".torn"


def set_aside_torn(runs_root: Path | None) -> list[Path]:
    """Rename files of traces that are not whole, so that `token_traces` reads all others; the new paths.

    A disk that was full, or a machine that lost power, leaves such files.  Cheap: eight bytes of each file.
    """
    moved = []
    for path in runs_root.glob("*/traces/*.parquet") if runs_root is not None else ():
        if not _is_whole(path):
            aside = path.with_name(path.name + TORN)
            os.replace(path, aside)
            moved.append(aside)
    return moved


def torn_traces(run_dir: Path) -> list[Path]:
    """The files of traces of one run that were set aside."""
    return sorted((run_dir / "traces").glob(f"*.parquet{TORN}"))


def _is_whole(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            begins = file.read(len(MAGIC)) == MAGIC
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(MAGIC)))
            return begins and size > 2 * len(MAGIC) and file.read() == MAGIC
    except FileNotFoundError:
        return True  # gone in this moment, with its run
