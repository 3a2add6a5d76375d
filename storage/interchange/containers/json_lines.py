"""JSON Lines: one object a line, read line by line.  A line that is broken is told and left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from storage.interchange.containers.parts import LONGEST_ROW, Numbered, Part, wrong
from storage.interchange.containers.streams import opened
from storage.interchange.containers.twice import error_of, in_line, made, suspected
from storage.interchange.mapping.cells import RowError, kind_of

CHUNK = 2**20
BOM = b"\xef\xbb\xbf"
TRAILING = re.compile(rb",\s*[}\]]\s*[}\],]*\s*$")
BROKEN_OFF = b"\x00"  # behind a last line without an end; no JSON holds it


def open_json_lines(path: Path, encoding: str) -> Part:
    """One JSON object a line; a broken line is one bad row."""
    part = Part(path, lambda: iter(()), "line", size=max(path.stat().st_size, 1))
    part.read = lambda: _rows(part, encoding)
    return part


def _rows(part: Part, encoding: str) -> Iterator[Numbered]:
    decode = msgspec.json.Decoder().decode
    with part.path.open("rb") as raw, opened(part.path, raw) as stream:
        done = 0
        part.position = raw.tell if stream is not raw else lambda: done
        for number, line in enumerate(_lines(part.path, stream, encoding), 1):
            done += len(line) + 1
            if not line or line.isspace():
                continue
            last = line.endswith(BROKEN_OFF)
            line = line.removesuffix(BROKEN_OFF).removeprefix(BOM)
            try:
                value = decode(line)
                if suspected(line, value):
                    value = in_line(line) or value
            except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
                value = _again(line, last)
            yield (
                number,
                (
                    value
                    if isinstance(value, dict | RowError)
                    else RowError(f"it is {kind_of(value)} where a JSON object is expected")
                ),
            )


def _again(line: bytes, last: bool) -> Any:
    """Python's reader knows NaN and lone surrogates; what it cannot read is not JSON."""
    try:
        value = json.loads(line, object_pairs_hook=made)
        return error_of(value) or value
    except UnicodeDecodeError:
        return RowError("it is not UTF-8 text")
    except (ValueError, RecursionError):
        if line.rstrip().endswith(b"},"):  # a list of rows whose brackets somebody has cut off
            return _again(line.rstrip()[:-1], last)
        if TRAILING.search(line):
            return RowError("a comma stands before a closing bracket, which JSON does not know")
        return RowError(
            "the last line breaks off; the file seems truncated" if last else "it is not a JSON object"
        )


def _lines(path: Path, stream: IO[bytes], encoding: str) -> Iterator[bytes]:
    if encoding not in ("utf-8", "utf-8-sig"):
        import codecs

        for text in codecs.getreader(encoding)(stream):
            yield text.encode("utf-8", "surrogatepass")
        return
    rest = b""
    while chunk := stream.read(CHUNK):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        yield from lines
        if len(rest) > LONGEST_ROW:
            raise wrong(path, "a line is longer than 64 MB; this is not JSON Lines")
    if rest:
        yield rest + BROKEN_OFF
