"""A file as rows: what every reader gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.errors import ImportFileError
from storage.interchange.mapping.cells import RowError

MOST_COLUMNS = 2000
LONGEST_ROW = 64 * 2**20  # bytes; a longer line is not a row of prompts and responses

# A number as a person counts (lines of JSON Lines, else rows), and the row or what is wrong with it.
Numbered = tuple[int, dict[str, Any] | RowError]


@dataclass
class Part:
    """One file.  `read` starts anew each time; `position` says how many bytes of it have been read."""

    path: Path
    read: Callable[[], Iterator[Numbered]]
    word: str = "row"  # what one row is called: line, row
    split: str | None = None
    subset: str | None = None  # the folder it lies in, where there are several
    size: int = 1
    position: Callable[[], int] = lambda: 0
    columns: tuple[str, ...] = ()  # where the file says them before its rows
    notes: list[str] = field(default_factory=list)
    # where the file is of columns: Arrow batches, each with the number of its first row, and bad rows alone
    tables: Callable[[], Iterator[tuple[int, Any]]] | None = None
    room: Path | None = None  # the folder for what has to be copied while it is read; None: the system's


@dataclass
class Source:
    """One or more files that are imported together."""

    name: str
    path: Path
    parts: list[Part]
    licence: str | None = None
    origin: str | None = None  # the data set's name or address, as its card says it
    notes: list[str] = field(default_factory=list)

    @property
    def word(self) -> str:
        """What one row is called: line, row."""
        return self.parts[0].word

    def rows(self) -> Iterator[tuple[Part, int, dict[str, Any] | RowError]]:
        """Every row of every part with its number, or what is wrong with it."""
        for part in self.parts:
            for number, row in part.read():
                yield part, number, row

    def share(self, part: Part) -> float:
        """How much of all files has been read, 0 … 1."""
        before = 0
        for other in self.parts:
            if other is part:
                break
            before += other.size
        total = sum(p.size for p in self.parts)
        return min(1.0, (before + min(part.position(), part.size)) / max(total, 1))


def refuse_many(path: Path | str, columns: int) -> None:
    """Raises ImportFileError for more columns than are looked through: what each is depends on all others."""
    if columns > MOST_COLUMNS:
        raise wrong(
            path,
            f"it has more than {MOST_COLUMNS:,} columns; keep those of prompts, responses and verdicts",
        )


def wrong(path: Path | str, sentence: str) -> ImportFileError:
    """The error that stops an import before anything is stored: what is wrong with which file."""
    name = path.name if isinstance(path, Path) else path
    return ImportFileError(f"{name}: {sentence}; nothing was imported.")
