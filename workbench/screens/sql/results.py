"""A table of query results over Arrow: any size, nothing converted but the cells in sight.

Imports pyarrow through textual-fastdatatable, so only the SQL screen imports this, with its first result.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar

import pyarrow as pa
from rich.cells import cell_len
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual_fastdatatable import ArrowBackend, DataTable

from workbench.services.sql.result_rows import ResultRows
from workbench.widgets.safe import safe_line, safe_text

CELL_LIMIT = 2000
"""Characters of one value that are handed to the table; the preview shows the rest."""
WIDEST = 48
SAMPLE = 200
"""About as many rows of a batch, spread evenly, are measured for the width of a column."""
PAGES_KEPT = 4


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
    """Rows of Arrow's, as many as are there, whose cells cannot be markup or controls.

    Widths of columns are measured on a sample, in the thread that adds the rows.
    """

    def __init__(self, rows: ResultRows) -> None:
        super().__init__(rows.schema.empty_table())
        self.rows = rows
        self._pages: OrderedDict[int, ArrowBackend] = OrderedDict()
        self._column_content_widths = [0] * len(rows.schema)

    @property
    def row_count(self) -> int:
        return len(self.rows)

    @property
    def column_content_widths(self) -> list[int]:
        """Cells that each column needs, by a sample of its rows."""
        return self._column_content_widths

    def get_row_at(self, index: int) -> Sequence[Any]:
        """A row without control characters, long cells cut."""
        page, place = self._page(index)
        return [harmless(value) for value in page.get_row_at(place)]

    def get_cell_at(self, row_index: int, column_index: int) -> Any:
        """A cell without control characters, cut where it is long."""
        return harmless(self.value(row_index, column_index))

    def value(self, row: int, column: int) -> Any:
        """A value as it is."""
        page, place = self._page(row)
        return page.get_cell_at(place, column)

    def values(self, row: int) -> list[Any]:
        """The values of a row as they are."""
        page, place = self._page(row)
        return list(page.get_row_at(place))

    def measure(self, batch: pa.RecordBatch, sampled: int = SAMPLE) -> None:
        """See that columns are wide enough for about so many of the batch's rows."""
        self._column_content_widths = [
            max(known, _sampled_width(pa.chunked_array([column]), sampled))
            for known, column in zip(self._column_content_widths, batch.columns, strict=True)
        ]

    def _page(self, row: int) -> tuple[ArrowBackend, int]:
        """The batch that a row is in, ready to be drawn from, and the row's place there."""
        number, place = self.rows.place(row)
        page = self._pages.pop(number, None)
        if page is None:
            page = ArrowBackend(pa.Table.from_batches([self.rows.batch(number)]))
        self._pages[number] = page
        if len(self._pages) > PAGES_KEPT:
            self._pages.popitem(last=False)
        return page, place


def _sampled_width(column: pa.ChunkedArray, sampled: int) -> int:
    widest = whole_number_cells(column) if pa.types.is_integer(column.type) else 0
    apart = max(1, len(column) // sampled)
    for scalar in column.take(pa.array(range(0, len(column), apart), pa.int64())):
        shown = harmless(ArrowBackend._to_python(scalar)).plain
        widest = max(widest, cell_len(shown.split("\n", 1)[0]) + (2 if "\n" in shown else 0))
    return min(widest, WIDEST)


def measured(rows: ResultRows) -> SafeBackend:
    """A backend with its column widths known; made in the thread of the query, so no frame waits."""
    backend = SafeBackend(rows)
    for batch in rows.batches():
        backend.measure(batch)
    return backend


def readable(rows: ResultRows) -> ResultRows:
    """The plan that EXPLAIN gives in one cell, as one row a line; other rows as they are."""
    if rows.schema.names != ["explain_key", "explain_value"]:
        return rows
    plans = (text for batch in rows.batches() for text in batch.column("explain_value").to_pylist())
    lines = [line for text in plans for line in str(text).splitlines()]
    return ResultRows.of(pa.table({"plan": pa.array(lines, pa.string())}))


class ResultTable(DataTable):
    """One result, which may still grow.  A new result is a new table."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Whole cell", tooltip="Open the whole value under the cursor"),
        Binding("c", "screen.chart", "Chart", tooltip="Draw two columns, or one over the rows"),
        Binding("ctrl+c", "copy_selection", "Copy", tooltip="Copy the value under the cursor, whole"),
        Binding("y", "copy_row", "Copy row", tooltip="Copy the row under the cursor, as JSON"),
    ]

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
        self.result = backend.rows

    def grow(self) -> None:
        """Show the rows that have come since, and columns as wide as they need."""
        if not isinstance(self.backend, SafeBackend) or self.virtual_size.height > self.row_count:
            return
        wider = False
        for column, width in zip(self.ordered_columns, self.backend.column_content_widths, strict=True):
            wider = wider or width > column.content_width
            column.content_width = max(column.content_width, width)
        if wider:
            self._clear_caches()
        self._update_count += 1
        self._update_dimensions(())
        self.refresh()

    def full_text(self) -> tuple[str, str]:
        """Column and whole value under the cursor."""
        backend = self.backend
        if not isinstance(backend, SafeBackend) or not backend.row_count:
            return "", ""
        value = backend.value(self.cursor_row, self.cursor_column)
        return backend.columns[self.cursor_column], whole_text(value)

    def action_copy_selection(self) -> None:
        """Copy the value under the cursor, whole and without control characters.

        What reaches the terminal is base64, so a model's text cannot be an escape of its own.
        """
        column, text = self.full_text()
        self._copy(text, column)

    def action_copy_row(self) -> None:
        """Copy the row under the cursor as one JSON object."""
        backend = self.backend
        if isinstance(backend, SafeBackend) and backend.row_count:
            row = dict(zip(backend.columns, backend.values(self.cursor_row), strict=True))
            self._copy(json.dumps(row, ensure_ascii=False, default=str), "row")

    def _copy(self, text: str, what: str) -> None:
        self.app.copy_to_clipboard(safe_text(text))
        self.post_message(self.Copied(safe_line(what, WIDEST), len(text)))

    class Copied(Message):
        """Something was put on the clipboard."""

        def __init__(self, what: str, characters: int) -> None:
            super().__init__()
            self.what, self.characters = what, characters


def whole_text(value: Any) -> str:
    """A value as text: what is nested as JSON, line by line."""
    if value is None:
        return "NULL"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, indent=2, default=str)
    return str(value)
