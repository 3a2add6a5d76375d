"""What a layout of other people's tools is: its columns, its rows, how they are read back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.interchange.formats.columns import Columns, Row

if TYPE_CHECKING:
    from storage.interchange.formats.leaving import Leaving


@dataclass(frozen=True)
class Format:
    """One layout.  `reading` are the statements with which an import takes every column for what it is."""

    name: str
    about: str
    what: str  # of the store it is made of: pairs, prompts, responses
    source: str  # where the layout is documented
    columns: Callable[[Leaving], Columns]
    rows: Callable[[Leaving], Iterator[Row]]
    reading: tuple[str, ...] = ()
    documents: bool = False  # one JSON list, which a tool takes as its import file


def reading(chosen: Format, columns: Columns) -> list[str]:
    """The statements `ROLE=COLUMN` for the columns that a file of this format has."""
    return [text for text in chosen.reading if _column(text) in columns]


def _column(statement: str) -> str:
    return re.split(r"[.\[{ ]", statement.partition("=")[2])[0]
