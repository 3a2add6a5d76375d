"""Objects in which a name stands twice: JSON's readers keep the last value, and the first would be lost.

Where both values are alike nothing is lost.
"""

from __future__ import annotations

import json
from typing import Any

from storage.interchange.mapping.cells import RowError


class Doubled(dict[str, Any]):
    """An object in which `name` stands twice, with two values."""

    name = ""


def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For JSON's reader: the object of these pairs."""
    found = dict(pairs)
    if len(found) < len(pairs):
        first: dict[str, Any] = {}
        for name, value in pairs:
            if first.setdefault(name, value) != value:
                doubled = Doubled(found)
                doubled.name = name
                return doubled
    return found


def error_of(value: Any) -> RowError | None:
    """What is wrong with a row of which `made` has made the objects; None where nothing is."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Doubled):
            return RowError(f'"{one.name}" stands twice in one object, with two values')
        if isinstance(one, dict):
            waiting += [v for v in one.values() if isinstance(v, dict | list)]
        elif isinstance(one, list):
            waiting += [v for v in one if isinstance(v, dict | list)]
    return None


def suspected(line: bytes, value: Any) -> bool:
    """Whether a line of JSON may hold more names than the value that was read of it.  Quick; often wrong."""
    return line.count(b'":') != _names(value) or b'" :' in line or b'"\t:' in line


def _names(value: Any) -> int:
    number, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if type(one) is dict:
            number += len(one)
            waiting += [v for v in one.values() if type(v) is dict or type(v) is list]
        elif type(one) is list:
            waiting += [v for v in one if type(v) is dict or type(v) is list]
    return number


def in_line(line: bytes) -> RowError | None:
    """What is wrong with a line of JSON; None where every name stands once."""
    return error_of(json.loads(line, object_pairs_hook=made))
