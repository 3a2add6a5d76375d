"""JSON Lines: one object a line, read line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from storage.interchange.rows import LONGEST_ROW, Row, Table, kind_of, wrong


def open_jsonl(path: Path) -> Table:
    """Columns are those of the first object.  Raises ImportFileError."""
    rows = _rows(path)
    first = next(rows, None)
    if first is None:
        raise wrong(path, "the file is empty")
    return Table(path, tuple(first.values), _chain(first, rows), "line")


def _chain(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


def _rows(path: Path) -> Iterator[Row]:
    size = max(path.stat().st_size, 1)
    read = 0
    with path.open("rb") as file:
        for number, line in enumerate(_lines(path, file), start=1):
            read += len(line)
            if line.strip():
                yield Row(number, _object(path, number, line, last=read >= size), read / size)


def _lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    number = 0
    while line := file.readline(LONGEST_ROW + 1):
        number += 1
        if len(line) > LONGEST_ROW:
            raise wrong(path, f"line {number} is longer than 64 MB; this is not JSON Lines")
        yield line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line


def _object(path: Path, number: int, line: bytes, *, last: bool) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise wrong(path, f"line {number} is not UTF-8 text; is this a binary file?") from None
    except (ValueError, RecursionError):
        if number == 1 and b"\x00" in line:
            raise wrong(path, "this is a binary file, not JSON Lines") from None
        if number == 1 and line.lstrip()[:1] == b"[":
            raise wrong(path, "this is one JSON list; JSON Lines has one object a line") from None
        if last and number > 1 and not line.endswith(b"\n"):
            raise wrong(path, f"the last line ({number}) breaks off; the file seems truncated") from None
        raise wrong(path, f"line {number} is not a JSON object") from None
    if isinstance(value, list) and number == 1:
        raise wrong(path, "this is one JSON list; JSON Lines has one object a line")
    if not isinstance(value, dict):
        raise wrong(path, f"line {number} is {kind_of(value)} where a JSON object is expected")
    return value
