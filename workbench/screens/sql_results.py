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
"""About as many rows, spread evenly, are measured for the width of a column."""


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


def whole_number_cells(column: pa.ChunkedArray) -> int:
    """Cells of the longest whole number of a column."""
    import pyarrow.compute as pc

    ends = pc.min_max(column).as_py()
    return max(len(str(end)) for end in ends.values()) if len(column) > column.null_count else 0


class SafeBackend(ArrowBackend):
    """Arrow rows whose cells cannot be markup or controls, with column widths measured on a sample."""

    def get_row_at(self, index: int) -> Sequence[Any]:
        """A row without control characters, long cells cut."""
        return [harmless(value) for value in super().get_row_at(index)]

    def get_cell_at(self, row_index: int, column_index: int) -> Any:
        """A cell without control characters, cut where it is long."""
        return harmless(super().get_cell_at(row_index, column_index))

    @property
    def column_content_widths(self) -> list[int]:
        """Cells that each column needs, by a sample of its rows."""
        if not self._column_content_widths:
            self._column_content_widths = [self._sampled_width(column) for column in self.data.columns]
        return self._column_content_widths

    def _sampled_width(self, column: pa.ChunkedArray) -> int:
        widest = whole_number_cells(column) if pa.types.is_integer(column.type) else 0
        apart = max(1, len(column) // SAMPLE)
        for scalar in column.take(pa.array(range(0, len(column), apart), pa.int64())):
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


def measured(table: pa.Table) -> SafeBackend:
    """A backend with its column widths known; made in the thread of the query, so no frame waits."""
    backend = SafeBackend(table)
    _ = backend.column_content_widths
    return backend


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

    def __init__(self, backend: SafeBackend, *, id: str | None = None) -> None:
        labels: list[str | Text] = [
            Text(safe_line(name, WIDEST) or " ", no_wrap=True) for name in backend.columns
        ]
        super().__init__(
            backend=backend,
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
        """Copy the value under the cursor, whole and without control characters.

        What reaches the terminal is base64, so a model's text cannot be an escape of its own.
        """
        self.app.copy_to_clipboard(safe_text(self.full_text()[1]))
