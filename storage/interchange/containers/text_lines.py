"""Plain text: one prompt a line."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from storage.interchange import remedies
from storage.interchange.containers.parts import LONGEST_ROW, Numbered, Part, wrong
from storage.interchange.containers.streams import opened


def open_text(path: Path, encoding: str) -> Part:
    """Plain text, one prompt a line."""
    part = Part(path, lambda: iter(()), "line", size=max(path.stat().st_size, 1), columns=("prompt",))
    part.notes.append("plain text is read as one prompt a line")
    part.read = lambda: _rows(part, encoding)
    return part


def _rows(part: Part, encoding: str) -> Iterator[Numbered]:
    with part.path.open("rb") as raw, opened(part.path, raw) as stream:
        part.position = raw.tell
        text = io.TextIOWrapper(stream, encoding="utf-8-sig" if encoding == "utf-8" else encoding)
        number = 0
        try:
            while line := text.readline(LONGEST_ROW):
                number += 1
                if line.strip():
                    yield number, {"prompt": line.rstrip("\r\n")}
        except UnicodeDecodeError:
            raise wrong(
                part.path, f"the text after line {number} is not {encoding}; {remedies.ENCODING}"
            ) from None
