"""The preference workbench.  From Python, `workbench.open("study.duckdb")` works on a study, and
`workbench.connect("study.duckdb")` asks it in SQL, also while a workbench holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.connection import Connection
    from workbench.study import Study

__all__ = ["connect", "open"]


def open(path: Path | str | None = None, *, annotator: str | None = None) -> Study:
    """Open a study: the store at `path`, by default the one of the settings.  See `Study.open`."""
    from workbench.study import Study

    return Study.open(path, annotator=annotator)


def connect(path: Path | str | None = None) -> Connection:
    """Ask the store at `path` in SQL, by default the one of the settings.  See `Connection`."""
    from workbench.connection import Connection

    return Connection.to(path)
