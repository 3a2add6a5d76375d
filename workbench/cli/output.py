"""Data on stdout: aligned tables for people, JSON for programs.

Text of models and files is cleaned of control characters where a terminal would obey them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import msgspec

from storage.interchange.clean import clean_text

MAX_COLUMN_WIDTH = 60
ENCODER = msgspec.json.Encoder(enc_hook=str, decimal_format="number")


def plain(value: Any) -> Any:
    """A record, path or number as JSON can hold it; NaN and infinities become null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def json_text(value: Any) -> str:
    """`value` as one line of JSON; times in ISO 8601, anything JSON does not know as text."""
    text = ENCODER.encode(plain(value)).decode()
    return _escape_controls(text) if sys.stdout.isatty() else text


def print_json(value: Any) -> None:
    """Prints what `--json` promises: one document, nothing beside it on standard output."""
    print(json_text(value))


def _escape_controls(text: str) -> str:
    """C0 is escaped by JSON already; escape C1, delete and what reorders text, as JSON allows."""
    return "".join(c if c == clean_text(c) else f"\\u{ord(c):04x}" for c in text)


def cell(value: Any, width: int | None = MAX_COLUMN_WIDTH) -> str:
    """One line of text for a table cell."""
    if value is None:
        return ""
    if isinstance(value, float):
        text = "" if math.isnan(value) else f"{value:.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
    elif isinstance(value, list | tuple | dict):
        text = json_text(value)
    elif hasattr(value, "strftime") and hasattr(value, "hour"):
        text = value.strftime("%Y-%m-%d %H:%M:%S")
    else:
        text = str(value)
    text = " ".join(clean_text(text).split())
    return text if width is None or len(text) <= width else text[: width - 1] + "…"


class Table:
    """An aligned table written row by row; widths are set by the first rows."""

    def __init__(self, columns: Sequence[str], first_rows: Iterable[Sequence[Any]] = ()) -> None:
        self.columns = [cell(name) for name in columns]
        self.widths = [len(name) for name in self.columns]
        self.numeric = [False] * len(self.columns)
        for row in first_rows:
            for index, value in enumerate(row):
                self.widths[index] = max(self.widths[index], len(cell(value)))
                if isinstance(value, int | float) and not isinstance(value, bool):
                    self.numeric[index] = True

    def head(self) -> None:
        """Prints the columns' names and a line below them."""
        self._line(self.columns)
        self._line(["─" * width for width in self.widths])

    def row(self, values: Sequence[Any]) -> None:
        """Prints one row; what is wider than its column is cut."""
        self._line([cell(value) for value in values])

    def _line(self, texts: Sequence[str]) -> None:
        padded = (
            text.rjust(width) if numeric else text.ljust(width)
            for text, width, numeric in zip(texts, self.widths, self.numeric, strict=True)
        )
        print("  ".join(padded).rstrip())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints a table whose rows are all known; `Table` alone is for rows that come one by one."""
    table = Table(columns, rows)
    table.head()
    for row in rows:
        table.row(row)


def print_records(records: Sequence[Any], columns: Sequence[str], *, as_json: bool) -> None:
    """Frozen records as a table of `columns`, or whole as a JSON array."""
    if as_json:
        print_json(records)
    else:
        print_table(columns, [[getattr(record, name) for name in columns] for record in records])
