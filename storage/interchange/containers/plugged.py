"""Files that a plugin reads: a function `(path) -> rows`, chosen by the file's ending."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from storage.interchange.containers.parts import Numbered, Part, wrong
from storage.interchange.mapping.cells import RowError
from storage.plugins import load, plugged


def has_reader(ending: str) -> bool:
    """Whether a plugin reads files with this ending (`.xyz`): its entry point has the ending's name."""
    return ending[1:] in plugged("readers")


def open_plugged(path: Path, ending: str) -> Part:
    """The plugin's reader of one file.  Raises StoreError when the plugin cannot be loaded."""
    reader = load("readers", ending[1:])

    def rows() -> Iterator[Numbered]:
        number = 0
        try:
            for number, row in enumerate(reader(path), 1):
                yield number, dict(row) if isinstance(row, Mapping) else RowError("not an object")
        except (Exception, SystemExit) as error:  # the plugin's own code may raise anything
            text = str(error).strip().split("\n", 1)[0]
            place = f"after row {number}" if number else "before its first row"
            raise wrong(
                path, f"the plugin for {ending} failed {place} ({type(error).__name__}: {text})"
            ) from error

    return Part(path, rows, size=max(path.stat().st_size, 1))
