"""The private folder beside a store for what does not fit into memory: DuckDB's, and copies of an import."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

COPIES = "import-"
"""How folders begin that an import keeps copies in."""
ANSWERS = "answers"


def folder(file: Path) -> Path:
    """Where DuckDB keeps what does not fit into memory."""
    return Path(f"{file}.tmp")


def prepare(file: Path) -> None:
    """Make the folder private, since DuckDB would make it with the usual mode.

    What a killed process had spilled is nobody's: whoever opens the file holds it alone.
    """
    place = folder(file)
    with suppress(OSError):
        place.mkdir(mode=0o700, exist_ok=True)
        place.chmod(0o700)
    for left in place.glob("duckdb_temp_*"):
        with suppress(OSError):
            left.unlink()
    for left in (*place.glob(f"{COPIES}*"), answers(file)):
        shutil.rmtree(left, ignore_errors=True)


def answers(file: Path) -> Path:
    """Where answers to other programs lie that do not fit into memory."""
    return folder(file) / ANSWERS
