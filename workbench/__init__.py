"""The preference workbench; `workbench.open("study.duckdb")` is the way in from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.study import Study

__all__ = ["open"]


def open(path: Path | str | None = None, *, annotator: str | None = None) -> Study:
    """Open a study: the store at `path`, by default the one of the settings.  See `Study.open`."""
    from workbench.study import Study

    return Study.open(path, annotator=annotator)
