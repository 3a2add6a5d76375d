"""Where in a text of SQL DuckDB found a fault, from the picture that it draws."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rich.cells import cell_len

from storage import literals

PICTURE = re.compile(r"^LINE (\d+): (.*)\n( *)\^", re.MULTILINE)
CUT = "..."


def fault_offset(error: BaseException | None, ran: str) -> int | None:
    """The offset in the text that ran; None where the error, and what caused it, has no picture."""
    begins = 0
    while error is not None:
        begins = begins or getattr(error, "begins", 0)
        if match := PICTURE.search(str(error)):
            return _offset(ran, begins, int(match[1]), match[2], len(match[3]) - len(f"LINE {match[1]}: "))
        error = error.__cause__
    return None


def _offset(ran: str, begins: int, number: int, shown: str, cells: int) -> int | None:
    """The offset of the place `cells` into what is shown of line `number` of the statement at `begins`."""
    lines = ran[begins:].split("\n")
    if not 1 <= number <= len(lines) or cells < 0:
        return None
    line = lines[number - 1]
    place = _index_at(shown, cells)
    if shown.startswith(CUT) or shown.endswith(CUT):
        part = shown.removeprefix(CUT).removesuffix(CUT)
        found = line.find(part)
        if found < 0:
            return None
        place += found - (len(CUT) if shown.startswith(CUT) else 0)
    return begins + sum(len(each) + 1 for each in lines[: number - 1]) + min(max(0, place), len(line))


def _index_at(text: str, cells: int) -> int:
    """The character that stands `cells` from the left, where DuckDB counts wide ones twice and tabs not."""
    width = 0
    for index, character in enumerate(text):
        wide = 0 if character == "\t" else cell_len(character)
        if width >= cells and wide:
            return index
        width += wide
    return len(text)


def in_written(sql: str, values: Mapping[str, object], offset: int) -> int:
    """The offset in `sql` for one in what it became when `values` took the place of its parameters."""
    moved = 0
    for start, end, name in literals.places_of(sql):
        length = len(literals.literal(values[name]))
        if offset < start + moved:
            break
        if offset < start + moved + length:
            return start
        moved += length - (end - start)
    return offset - moved


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Line and column of a place, both from 0."""
    before = text[:offset]
    return before.count("\n"), offset - (before.rfind("\n") + 1)
