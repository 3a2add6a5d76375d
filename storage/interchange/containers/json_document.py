"""One JSON document: a list of rows, a list inside an object, columns, the data-set viewer's rows.

A list is read element by element, whatever its size; only what must be known as a whole (columns, rows by
name) is held in memory.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from storage.interchange import remedies
from storage.interchange.containers.parts import LONGEST_ROW, Numbered, Part, wrong
from storage.interchange.containers.streams import opened
from storage.interchange.mapping.cells import RowError, kind_of
from storage.interchange.mapping.conversations import is_message
from storage.wording import counted

WRAPPERS = (
    "data",
    "rows",
    "examples",
    "items",
    "instances",
    "records",
    "results",
    "samples",
    "dataset",
    "entries",
    "annotations",
    "questions",
    "comparisons",
    "pairs",
    "preferences",
    "tasks",
    "conversations",
    "train",
    "test",
    "validation",
)
OF_A_ROW = ("prompt", "question", "instruction", "id", "chosen")  # an object with one of these is a row
OF_COLUMNS = ("features", "schema", "columns", "fields")  # lists of what columns are, not of rows
SPLITS = ("train", "test", "validation", "valid", "val", "dev", "eval")
WHOLE = 8 * 2**20  # characters; a longer document is streamed
LARGEST = LONGEST_ROW  # characters of one value, which has to be held whole
CHUNK = 2**20
_SPACE = " \t\r\n\ufeff"


def open_json(path: Path, encoding: str) -> Part:
    """A JSON document: a list of objects, or an object that holds one; read a piece at a time."""
    part = Part(path, lambda: iter(()), "row", size=max(path.stat().st_size, 1))
    part.read = lambda: _numbered(part, encoding)
    return part


def _numbered(part: Part, encoding: str) -> Iterator[Numbered]:
    with part.path.open("rb") as raw, opened(part.path, raw) as stream:
        part.position = raw.tell
        text = io.TextIOWrapper(stream, encoding=encoding, errors="strict")
        try:
            for number, value in enumerate(_values(part, Scanner(part.path, text)), 1):
                yield (
                    number,
                    (
                        value
                        if isinstance(value, dict)
                        else RowError(f"it is {kind_of(value)} where an object is expected")
                    ),
                )
        except UnicodeDecodeError as error:
            raise wrong(
                part.path, f"its text is not {encoding} ({error.reason}); {remedies.ENCODING}"
            ) from None


class Scanner:
    """Values one after another out of a stream of text."""

    def __init__(self, path: Path, text: io.TextIOBase) -> None:
        self.path = path
        self._text = text
        self._decoder = json.JSONDecoder()
        self._buffer = ""
        self._place = 0
        self._ended = False
        self._read = 0

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._place < len(self._buffer):
                if self._buffer[self._place] not in _SPACE:
                    return self._buffer[self._place]
                self._place += 1
            if not self._fill(CHUNK):
                return ""

    def skip(self, expected: str) -> None:
        """Go past one expected character.  Raises ImportFileError, with its place, where another stands."""
        character = self.peek()
        if character != expected:
            self._broken(
                "breaks off"
                if not character
                else f"is broken: “{expected}” is expected where “{character}” stands"
            )
        self._place += 1

    def value(self) -> Any:
        """The next whole value."""
        if (character := self.peek()) in ("]", "}"):
            self._broken(f"is broken: a comma stands before “{character}”")
        size = CHUNK
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._place)
            except (ValueError, RecursionError) as error:
                if isinstance(error, RecursionError):
                    self._broken("is nested too deeply")
                if len(self._buffer) - self._place > LARGEST or not self._fill(size):
                    if self._ended and "property name" in str(error) and self._buffer[error.pos :].strip():  # type: ignore[union-attr]
                        self._broken(
                            "is broken: the name of a value is expected, perhaps after one comma too many"
                        )
                    self._broken(
                        "breaks off; it seems truncated"
                        if self._ended
                        else "is too large to be read as one object"
                    )
                if size > CHUNK and _certainly_broken(error, len(self._buffer)):
                    self._broken("is broken")
                size *= 2
                continue
            if end == len(self._buffer) and self._fill(CHUNK):
                continue  # a number may go on
            self._place = end
            return value

    def whole(self, most: int) -> bool:
        """Whether all of the text is in the buffer, after reading up to `most` characters."""
        while not self._ended and len(self._buffer) - self._place < most:
            self._fill(CHUNK)
        return self._ended

    def _fill(self, size: int) -> bool:
        if self._ended:
            return False
        chunk = self._text.read(size)
        if not chunk:
            self._ended = True
            return False
        self._read += len(chunk)
        self._buffer = self._buffer[self._place :] + chunk
        self._place = 0
        return True

    def _broken(self, how: str) -> None:
        raise wrong(
            self.path, f"the JSON {how}, near character {self._read - len(self._buffer) + self._place + 1:,}"
        )


def _certainly_broken(error: Exception, held: int) -> bool:
    return (
        isinstance(error, json.JSONDecodeError)
        and error.pos < held - 65536
        and "Unterminated" not in error.msg
    )


def _values(part: Part, scanner: Scanner) -> Iterator[Any]:
    first = scanner.peek()
    if first == "[":
        yield from _elements(scanner)
        return
    if first != "{":
        raise wrong(part.path, "this is not JSON" if first else "the file is empty")
    if not scanner.whole(WHOLE):
        yield from _streamed(part, scanner)
        return
    values = []
    while scanner.peek() == "{":
        values.append(scanner.value())
    if scanner.peek() not in ("", ","):
        raise wrong(part.path, "something else follows the JSON")
    yield from values if len(values) > 1 else rows_of(values[0], part.notes)


def _elements(scanner: Scanner) -> Iterator[Any]:
    scanner.skip("[")
    if scanner.peek() == "]":
        return
    while True:
        yield scanner.value()
        if scanner.peek() == "]":
            scanner.skip("]")
            return
        scanner.skip(",")


def _streamed(part: Part, scanner: Scanner) -> Iterator[Any]:
    """A large object: the elements of its lists of objects are the rows; without any, its columns.

    A list of objects is read after the first one too: splits and parts stand one behind the other.
    """
    listed = False
    scanner.skip("{")
    before: dict[str, Any] = {}
    while True:
        key = scanner.value()
        scanner.skip(":")
        of_rows = key not in OF_COLUMNS and (key in WRAPPERS or listed or not before)
        if scanner.peek() == "[" and of_rows:
            stream = _elements(scanner)
            first = next(stream, None)
            if isinstance(first, dict):
                listed = True
                yield from _belonging(key, _unwrapped(first, stream))
            elif first is not None:
                before[key] = [first, *stream]
        else:
            before[key] = scanner.value()
        if scanner.peek() == "}":
            break
        scanner.skip(",")
    if listed:
        parts = _parts_in(before)
        for name, rows in parts.items():
            yield from _belonging(name, iter(rows))
        _note({k: v for k, v in before.items() if k not in parts}, part.notes)
    else:
        yield from rows_of(before, part.notes)


def _belonging(name: str, rows: Iterator[Any]) -> Iterator[Any]:
    """Rows of a list that is called as a split is, or by the file's own word for a part of itself."""
    column = "split" if name in SPLITS else "subset" if name not in WRAPPERS else None
    for row in rows:
        yield {column: name, **row} if column and isinstance(row, dict) else row


def _unwrapped(first: dict[str, Any], rest: Iterator[Any]) -> Iterator[Any]:
    viewer = isinstance(first.get("row"), dict) and "row_idx" in first
    yield first["row"] if viewer else first
    for value in rest:
        yield value.get("row") if viewer and isinstance(value, dict) else value


def rows_of(value: dict[str, Any], notes: list[str]) -> Iterator[Any]:
    """The rows that one JSON object holds, in whichever layout; the object itself where it is a row."""
    rows = value.get("rows")
    if (
        isinstance(rows, list)
        and rows
        and all(isinstance(r, dict) and isinstance(r.get("row"), dict) for r in rows)
    ):
        cut = sum(bool(r.get("truncated_cells")) for r in rows)
        if cut:
            notes.append(f"the viewer has cut cells in {counted(cut, 'row')}")
        yield from (r["row"] for r in rows)
        return
    names = value.get("columns") or value.get("header") or value.get("fields")
    table = value.get("data") or rows
    if isinstance(names, list) and isinstance(table, list) and all(isinstance(r, list) for r in table):
        yield from (dict(zip(names, r, strict=False)) for r in table)
        return
    lists = {
        k: v for k, v in value.items() if isinstance(v, list) and v and all(isinstance(e, dict) for e in v)
    }
    parts = _parts_in(value)
    if (len(lists) == len(value) and set(value) <= set(SPLITS)) or _are_parts(parts, value):
        for name, part in parts.items():
            yield from _belonging(name, iter(part))
        _note({k: v for k, v in value.items() if k not in parts}, notes)
        return
    columns = _columns(value)
    if columns is not None:
        yield from columns
        return
    wrapper = next((k for k in WRAPPERS if k in lists and not all(map(is_message, lists[k]))), None)
    if wrapper is None and len(lists) == 1 and not any(key in value for key in OF_A_ROW):
        only = next(iter(lists))
        wrapper = None if all(map(is_message, lists[only])) else only
    if wrapper is not None:
        _note({k: v for k, v in value.items() if k != wrapper}, notes)
        yield from _belonging(wrapper, iter(lists[wrapper]))
        return
    if (inner := _inner(value)) is not None:
        _note({k: v for k, v in value.items() if v is not inner}, notes)
        yield from rows_of(inner, notes)
        return
    yield from _by_name(value)


def _parts_in(value: dict[str, Any]) -> dict[str, list[Any]]:
    """The lists of objects that are neither messages nor columns."""
    return {
        k: v
        for k, v in value.items()
        if k not in OF_COLUMNS
        and isinstance(v, list)
        and v
        and all(isinstance(e, dict) for e in v)
        and not all(map(is_message, v))
    }


def _are_parts(parts: dict[str, list[Any]], value: dict[str, Any]) -> bool:
    """`{"helpful": [rows], "harmless": [rows]}`: lists of rows with the same columns."""
    columns = [set(rows[0]) for rows in parts.values()]
    alike = len(columns) > 1 and len(set.intersection(*columns)) > 1
    return alike and not any(key in value for key in OF_A_ROW)


def _inner(value: dict[str, Any]) -> dict[str, Any] | None:
    """`{"meta": …, "payload": {"items": [rows]}}`: the one object inside that holds a list of rows."""
    lists = [
        inner
        for inner in value.values()
        if isinstance(inner, dict)
        and any(
            isinstance(inner.get(k), list) and inner[k] and all(isinstance(e, dict) for e in inner[k])
            for k in ("data", "rows", "examples", "items", "records", "results", "samples", *SPLITS)
        )
    ]
    spoken = any(isinstance(v, str) and " " in v for v in value.values())
    return lists[0] if len(lists) == 1 and not spoken else None


def _columns(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """`{"prompt": […], "chosen": […]}`, or the same with the rows' numbers as keys."""
    values = list(value.values())
    if len(values) < 1:
        return None
    if all(isinstance(v, dict) for v in values):
        keys = list(values[0])
        if keys and all(k.isdigit() for k in keys) and all(list(v) == keys for v in values):
            return [{name: column[k] for name, column in value.items()} for k in keys]
        return None
    if not all(isinstance(v, list) for v in values) or len({len(v) for v in values}) != 1 or not values[0]:
        return None
    messages = all(all(isinstance(e, dict) and is_message(e) for e in v) for v in values)
    if messages or (len(values) == 1 and isinstance(values[0][0], dict)):
        return None
    return [dict(zip(value, row, strict=True)) for row in zip(*values, strict=True)]


def _by_name(value: dict[str, Any]) -> Iterator[Any]:
    """`{"q1": {…}, "q2": {…}}`: rows by their ids; anything else is one row."""
    rows = list(value.values())
    if len(rows) > 1 and all(isinstance(r, dict) and r for r in rows):
        shared = set.intersection(*(set(r) for r in rows))
        if len(shared) >= 2 and not all(is_message(r) for r in rows):
            yield from ({"id": name, **row} for name, row in value.items())
            return
    yield value


def _note(rest: dict[str, Any], notes: list[str]) -> None:
    shown = {k: v for k, v in rest.items() if isinstance(v, str | int | float)}
    if rest:
        said = ", ".join(f"{k} {str(v)[:30]}" for k, v in list(shown.items())[:4])
        notes.append("beside the rows the file says " + (said or ", ".join(list(rest)[:6])))


__all__ = ["LONGEST_ROW", "open_json", "rows_of"]
