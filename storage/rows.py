"""Rows as a table that one statement can read, without pyarrow.

A parameter a value costs DuckDB 100 µs a row, and milliseconds where the table has a key; a JSON list a
column costs some µs a row, and nothing has to be imported for it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

Row = tuple[Any, ...]
TYPES = {str: "VARCHAR", bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE", datetime: "TIMESTAMP"}


def with_rows(sql: str, columns: Sequence[str], rows: Sequence[Row]) -> tuple[str, dict[str, str]] | None:
    """`sql`, which reads the table `arrived`, with that table before it; and its parameters.

    None where JSON cannot hold the rows: numbers that are not finite, and values of other types.
    """
    parts, values = [], {}
    for number, (name, column) in enumerate(zip(columns, zip(*rows, strict=True), strict=True)):
        type_ = _type(column)
        if type_ is None:
            return None
        plain = [v and v.isoformat() for v in column] if type_ == "TIMESTAMP" else column
        values[f"column{number}"] = json.dumps(plain, ensure_ascii=False)
        parts.append(f'unnest(from_json($column{number}, \'["{type_}"]\')) AS "{name}"')
    return f"WITH arrived AS (SELECT {', '.join(parts)})\n{sql}", values


def _type(column: Sequence[Any]) -> str | None:
    """What DuckDB calls the type of these values; None where there is no one type for JSON to hold."""
    kinds = {type(value) for value in column} - {type(None)}
    if kinds == {int, float}:
        kinds = {float}
    if not kinds:
        return "VARCHAR"  # of nothing but NULL, which any type takes
    if len(kinds) > 1:
        return None
    if kinds == {float} and not all(value is None or math.isfinite(value) for value in column):
        return None
    return TYPES.get(kinds.pop())
