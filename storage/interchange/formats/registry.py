"""Every layout that data can leave in, by name."""

from __future__ import annotations

import difflib

from storage.errors import NotFoundError, StoreError
from storage.interchange.formats import annotation, arena, rated, trl
from storage.interchange.formats.format import Format
from storage.plugins import load, plugged

FORMATS: tuple[Format, ...] = (*trl.FORMATS, *rated.FORMATS, *arena.FORMATS, *annotation.FORMATS)
BY_NAME = {format_.name: format_ for format_ in FORMATS}


def find(name: str) -> Format:
    """The format of that name, built in or of a plugin.

    Raises NotFoundError with the near match, StoreError for a plugin that cannot be used.
    """
    if name in BY_NAME:
        return BY_NAME[name]
    if name in plugged("formats"):
        return _plugged_format(name)
    known = [*BY_NAME, *plugged("formats")]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean “{near[0]}”?" if near else f"; there are {', '.join(known)}."
    raise NotFoundError(f"There is no format “{name[:40]}”{hint}")


def _plugged_format(name: str) -> Format:
    value = load("formats", name)
    if not isinstance(value, Format) or value.name != name:
        raise StoreError(f"The plugin “{name}” is no Format of the name “{name}”; correct its entry point.")
    return value


def formats_table() -> str:
    """Markdown: one row a format, for docs/formats.md."""
    lines = ["| format | made of | what it is | documented at |", "| --- | --- | --- | --- |"]
    lines += [f"| `{f.name}` | `{f.what}` | {f.about} | <{f.source}> |" for f in FORMATS]
    return "\n".join(lines)
