"""A table of query results over Arrow: any size, nothing converted but the cells in sight.

Imports pyarrow through textual-fastdatatable, so only the SQL screen imports this, with its first result.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
from rich.cells import cell_len
from rich.text import Text
from textual_fastdatatable import ArrowBackend, DataTable

from workbench.widgets.safe import safe_line, safe_text

CELL_LIMIT = 2000
"""Characters of one value that are handed to the table; the preview shows the rest."""
WIDEST = 48
SAMPLE = 200
"""Rows that column widths are measured on: measuring all of a million rows would block the screen."""


def harmless(value: Any) -> Text:
    """A cell that draws literally: numbers right, all else left, no controls, nothing as markup."""
    if value is None:
        return Text("–", style="dim", no_wrap=True)
    if isinstance(value, bool):
        return Text("true" if value else "false", no_wrap=True)
    if isinstance(value, int | Decimal):
        return Text(str(value), justify="right", no_wrap=True)
    if isinstance(value, float):
        return Text(f"{value:.6g}", justify="right", no_wrap=True)
    text = value if isinstance(value, str) else str(value)
    return Text(safe_text(text[:CELL_LIMIT]).replace("\t", " "), no_wrap=True)


class SafeBackend(ArrowBackend):
    """Arrow rows whose cells cannot be markup or controls, with column widths measured on a sample."""

    def get_row_at(self, index: int) -> Sequence[Any]:
        return [harmless(value) for value in super().get_row_at(index)]

    def get_cell_at(self, row_index: int, column_index: int) -> Any:
        return harmless(super().get_cell_at(row_index, column_index))

    @property
    def column_content_widths(self) -> list[int]:
        if not self._column_content_widths:
            sample = self.data.slice(0, SAMPLE)
            self._column_content_widths = [self._sampled_width(column) for column in sample.columns]
        return self._column_content_widths

    def _sampled_width(self, column: pa.ChunkedArray) -> int:
        widest = 0
        for scalar in column:
            value = harmless(self._to_python(scalar))
            text = (
                value.plain
                if isinstance(value, Text)
                else f"{value:n}"
                if isinstance(value, int | float)
                else str(value)
            )
            widest = max(widest, cell_len(text.split("\n", 1)[0]) + (2 if "\n" in text else 0))
        return min(widest, WIDEST)


class ResultTable(DataTable):
    """One result.  A new result is a new table."""

    DEFAULT_CSS = """
    ResultTable {
        height: 1fr; max-height: 100%; background: $background;
        scrollbar-size-vertical: 1; scrollbar-size-horizontal: 1;
        &> .datatable--header { background: $surface; color: $text-primary; text-style: bold; }
        &> .datatable--even-row { background: $background; }
        &> .datatable--odd-row { background: $background; }
        &> .datatable--cursor { background: $primary 40%; color: $text; }
    }
    """

    def __init__(self, table: pa.Table, *, id: str | None = None) -> None:
        labels: list[str | Text] = [
            Text(safe_line(name, WIDEST) or " ", no_wrap=True) for name in table.column_names
        ]
        super().__init__(
            backend=SafeBackend(table),
            column_labels=labels,
            max_column_content_width=WIDEST,
            render_markup=False,
            id=id,
        )

    def full_text(self) -> tuple[str, str]:
        """Column and whole value under the cursor."""
        backend = self.backend
        if not isinstance(backend, SafeBackend) or not backend.row_count:
            return "", ""
        value = ArrowBackend.get_cell_at(backend, self.cursor_row, self.cursor_column)
        return backend.columns[self.cursor_column], "NULL" if value is None else str(value)

    def action_copy_selection(self) -> None:
        """Nothing is copied: a clipboard escape could carry a model's text."""
