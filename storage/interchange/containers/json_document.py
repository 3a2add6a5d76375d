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

from storage.errors import ImportFileError
from storage.interchange import remedies
from storage.interchange.containers.json_layouts import (
    OF_COLUMNS,
    WRAPPERS,
    belonging,
    note,
    parts_in,
    rows_of,
)
from storage.interchange.containers.parts import LONGEST_ROW, Numbered, Part, refuse_many, wrong
from storage.interchange.containers.streams import opened
from storage.interchange.containers.twice import Doubled, error_of, made
from storage.interchange.mapping.cells import RowError, kind_of

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
                yield number, _row(value)
        except UnicodeDecodeError as error:
            raise wrong(
                part.path, f"its text is not {encoding} ({error.reason}); {remedies.ENCODING}"
            ) from None


def _row(value: Any) -> dict[str, Any] | RowError:
    if isinstance(value, dict):
        return error_of(value) or value
    if isinstance(value, RowError):
        return value
    return RowError(f"it is {kind_of(value)} where an object is expected")


class Scanner:
    """Values one after another out of a stream of text."""

    def __init__(self, path: Path, text: io.TextIOBase) -> None:
        self.path = path
        self._text = text
        self._decoder = json.JSONDecoder(object_pairs_hook=made)
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
        if character == "/":
            self._broken("holds a comment, which JSON does not know")
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
        while scanner.peek() == "[":  # one list behind the other is what appending makes
            yield from _elements(scanner)
        if scanner.peek():
            raise wrong(part.path, "something else follows the JSON")
        return
    if first != "{":
        raise wrong(part.path, _no_rows(scanner) if first else "the file is empty")
    if not scanner.whole(WHOLE):
        yield from _streamed(part, scanner)
        return
    values = []
    while scanner.peek() == "{":
        values.append(scanner.value())
    if scanner.peek() not in ("", ","):
        raise wrong(part.path, "something else follows the JSON")
    if len(values) > 1:
        yield from values
        return
    for row in rows_of(values[0], part.notes):
        if row is not values[0] and isinstance(values[0], Doubled):
            raise wrong(
                part.path, f'"{values[0].name}" stands twice in its outermost object, with two values'
            )
        yield row


def _no_rows(scanner: Scanner) -> str:
    """Of a document that begins with neither a bracket nor a brace."""
    try:
        value = scanner.value()
    except ImportFileError:
        return "this is not JSON"
    return "this is not JSON" if scanner.peek() else f"it holds {kind_of(value)} where rows are expected"


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
    listed, plain = False, 0
    scanner.skip("{")
    before: dict[str, Any] = {}
    seen = set[str]()
    while True:
        key = scanner.value()
        scanner.skip(":")
        if key in seen:
            raise wrong(part.path, f'"{key}" stands twice in its outermost object')
        seen.add(key)
        of_rows = key not in OF_COLUMNS and (key in WRAPPERS or listed or not before)
        if scanner.peek() == "[" and of_rows:
            stream = _elements(scanner)
            first = next(stream, None)
            if isinstance(first, dict):
                listed = True
                yield from belonging(key, _unwrapped(first, stream))
            elif first is not None:
                before[key] = [first, *stream]
        else:
            before[key] = scanner.value()
            plain += not isinstance(before[key], dict | list)
            refuse_many(part.path, plain)
        if scanner.peek() == "}":
            break
        scanner.skip(",")
    if listed:
        parts = parts_in(before)
        for name, rows in parts.items():
            yield from belonging(name, iter(rows))
        note({k: v for k, v in before.items() if k not in parts}, part.notes)
    else:
        yield from rows_of(before, part.notes)


def _unwrapped(first: dict[str, Any], rest: Iterator[Any]) -> Iterator[Any]:
    viewer = isinstance(first.get("row"), dict) and "row_idx" in first
    yield first["row"] if viewer else first
    for value in rest:
        yield value.get("row") if viewer and isinstance(value, dict) else value
