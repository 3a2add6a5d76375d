"""Python values as SQL text, for questions that travel as text alone, and the parameters of a text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

# Strings, quoted names and comments may hold what looks like a parameter.
_PARTS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\$([A-Za-z_]\w*)|\?", re.DOTALL)


def parameters_of(sql: str) -> list[str]:
    """The names of the parameters (`$name`) of a text, each once, in order."""
    return list(dict.fromkeys(match[1] for match in _PARTS.finditer(sql) if match[1]))


def places_of(sql: str) -> list[tuple[int, int, str]]:
    """Start, end and name of every parameter (`$name`) of a text, in order."""
    return [(*match.span(), match[1]) for match in _PARTS.finditer(sql) if match[1]]


def filled_in(sql: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> str:
    """`sql` with its parameters (`$name`, or `?` in order) written into it as literals.

    The holder's protocol carries text alone.  Raises KeyError for a parameter without a value.
    """
    if not parameters:
        return sql
    by_name = parameters if isinstance(parameters, Mapping) else {}
    in_order = iter(() if isinstance(parameters, Mapping) else parameters)

    def fill(match: re.Match[str]) -> str:
        if match[1]:
            return literal(by_name[match[1]])
        return literal(next(in_order)) if match[0] == "?" and not by_name else match[0]

    return _PARTS.sub(fill, sql)


def literal(value: Any) -> str:
    """A Python value as SQL.  Raises TypeError for one that no literal stands for."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return f"'{value!r}'::DOUBLE"  # NaN and infinities too
        case datetime():
            return f"'{value.isoformat(sep=' ')}'::{'TIMESTAMPTZ' if value.tzinfo else 'TIMESTAMP'}"
        case date():
            return f"'{value.isoformat()}'::DATE"
        case str() | Path():
            return "'" + str(value).replace("'", "''") + "'"
        case Mapping():
            pairs = (f"{literal(str(key))}: {literal(item)}" for key, item in value.items())
            return "{" + ", ".join(pairs) + "}"
        case Sequence():
            return "[" + ", ".join(map(literal, value)) + "]"
    raise TypeError(f"{type(value).__name__} cannot be written as SQL")


def identifier(name: str) -> str:
    """A name of a column as SQL, whatever its characters."""
    return '"' + name.replace('"', '""') + '"'


def typed(text: str) -> int | float | str:
    """What a person typed for a parameter: a number where it reads as one, else text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
