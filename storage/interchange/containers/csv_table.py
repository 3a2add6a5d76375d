"""CSV with a header (comma, semicolon, tab or bar), read row by row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from storage.interchange import remedies
from storage.interchange.containers.parts import LONGEST_ROW, Numbered, Part, refuse_many, wrong
from storage.interchange.containers.streams import opened
from storage.interchange.mapping.cells import RowError
from storage.wording import counted

LONGEST_CELL = 16 * 2**20  # characters; a longer one begins with a quotation mark that is never closed
IMPORT_ID = re.compile(r'\{"ImportId":.*\}')
UNNAMED = re.compile(r"^(Unnamed: \d+)?$")  # how pandas calls the column of row numbers


def open_csv(path: Path, encoding: str, delimiter: str | None = None) -> Part:
    """Every value is text; an empty cell is empty text."""
    csv.field_size_limit(LONGEST_CELL)
    part = Part(path, lambda: iter(()), "row", size=max(path.stat().st_size, 1))
    part.read = lambda: _rows(part, encoding, delimiter)
    return part


def _rows(part: Part, encoding: str, delimiter: str | None) -> Iterator[Numbered]:
    path, number = part.path, 0
    try:
        with path.open("rb") as raw, opened(path, raw) as stream:
            part.position = raw.tell
            text = io.TextIOWrapper(
                stream, encoding="utf-8-sig" if encoding == "utf-8" else encoding, newline=""
            )
            first, lines = _header(path, text)
            reader = csv.reader(lines, delimiter=delimiter or delimiter_of(first), strict=True)
            header = next(reader)
            refuse_many(path, len(header))
            header = [name.strip() or f"column {n}" for n, name in enumerate(header, 1)]
            if len(set(header)) < len(header):
                raise wrong(path, "two columns have the same name")
            part.columns = tuple(header)
            for cells in _without_captions(reader, part.notes):
                if not cells:
                    continue
                number += 1
                if len(cells) != len(header):
                    yield (
                        number,
                        RowError(f"it has {counted(len(cells), 'cell')} and the header has {len(header)}"),
                    )
                else:
                    yield number, dict(zip(header, cells, strict=True))
    except UnicodeDecodeError:
        raise wrong(path, f"the text after row {number} is not {encoding}; {remedies.ENCODING}") from None
    except csv.Error as error:
        if "field larger" in str(error):
            raise wrong(
                path, f"a cell after row {number} is longer than 16 MB; is a quotation mark never closed?"
            ) from None
        if "unexpected end" in str(error):
            raise wrong(
                path, f"a quotation mark after row {number} is never closed; is the file truncated?"
            ) from None
        raise wrong(path, f"row {number + 1} is not CSV ({error})") from None


def _without_captions(reader: Iterator[list[str]], notes: list[str]) -> Iterator[list[str]]:
    """The rows behind a survey's: Qualtrics writes each question's wording and its id below the header."""
    first = list(islice((cells for cells in reader if cells), 2))
    if len(first) == 2 and all(IMPORT_ID.fullmatch(cell) for cell in first[1]):
        note = "two rows below the header, of wordings and ids of questions, are no answers"
        notes += [] if note in notes else [note]
        first = []
    yield from first
    yield from reader


def _header(path: Path, text: io.TextIOBase) -> tuple[str, Iterator[str]]:
    """The first line, and all lines; Excel's `sep=;` is taken off."""
    first = text.readline(LONGEST_ROW)
    while first and not first.strip():
        first = text.readline(LONGEST_ROW)
    if re.fullmatch(r"sep=.\s*", first):
        first = text.readline(LONGEST_ROW)
    if not first:
        raise wrong(path, "the file is empty")

    def lines() -> Iterator[str]:
        yield first
        yield from text

    return first, lines()


def delimiter_of(header: str) -> str:
    """What parts the columns, by the header outside quotation marks."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(",;\t|", key=bare.count)
