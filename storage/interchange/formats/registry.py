"""Every layout that data can leave in, by name."""

from __future__ import annotations

import difflib

from storage.errors import NotFoundError
from storage.interchange.formats import annotation, arena, rated, trl
from storage.interchange.formats.format import Format

FORMATS: tuple[Format, ...] = (*trl.FORMATS, *rated.FORMATS, *arena.FORMATS, *annotation.FORMATS)
BY_NAME = {format_.name: format_ for format_ in FORMATS}


def find(name: str) -> Format:
    """Raises NotFoundError with the near match."""
    if name in BY_NAME:
        return BY_NAME[name]
    near = difflib.get_close_matches(name, BY_NAME, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else f"; there are {', '.join(BY_NAME)}."
    raise NotFoundError(f'There is no format "{name[:40]}"{hint}')


def formats_table() -> str:
    """Markdown: one row a format, for docs/formats.md."""
    lines = ["| format | made of | what it is | documented at |", "| --- | --- | --- | --- |"]
    lines += [f"| `{f.name}` | `{f.what}` | {f.about} | <{f.source}> |" for f in FORMATS]
    return "\n".join(lines)
