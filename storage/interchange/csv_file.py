"""CSV (comma, semicolon or tab) with a header, read row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

from storage.interchange.rows import LONGEST_ROW, Row, Table, wrong


def open_csv(path: Path) -> Table:
    """Every value is text; an empty cell is empty text.  Raises ImportFileError."""
    _refuse_binary(path)
    csv.field_size_limit(LONGEST_ROW)
    rows = _rows(path)
    header = next(rows)
    return Table(path, tuple(header.values), rows, "row")


def _refuse_binary(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(4096)
    if not start.strip():
        raise wrong(path, "the file is empty")
    if b"\x00" in start:
        raise wrong(path, "this is a binary file, not CSV")


def _rows(path: Path) -> Iterator[Row]:
    """The header first, as a row whose keys are the columns; then the data."""
    size = max(path.stat().st_size, 1)
    number = 0
    try:
        with path.open("rb") as raw, TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=_delimiter(path, file), strict=True)
            header = next(reader)
            if len(set(header)) < len(header):
                raise wrong(path, "two columns have the same name")
            yield Row(0, dict.fromkeys(header), 0.0)
            for cells in reader:
                if not cells:
                    continue
                number += 1
                if len(cells) != len(header):
                    raise wrong(path, f"row {number} has {len(cells)} cells and the header has {len(header)}")
                yield Row(number, dict(zip(header, cells, strict=True)), raw.tell() / size)
    except UnicodeDecodeError:
        raise wrong(path, f"the text after row {number} is not UTF-8; is this a binary file?") from None
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise wrong(
                path, f"a quotation mark after row {number} is never closed; is the file truncated?"
            ) from None
        raise wrong(path, f"row {number + 1} is not CSV ({error})") from None


def _delimiter(path: Path, file: TextIO) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    header = file.readline(65536)
    file.seek(0)
    return max(",;\t", key=header.count)
