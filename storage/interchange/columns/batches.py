"""Rows of a file in batches: as Arrow gives them, or gathered from a reader that gives one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from storage.interchange.containers.columnar import python_values
from storage.interchange.containers.parts import Numbered, Part, Source
from storage.interchange.mapping.cells import RowError
from storage.interchange.mapping.language import Statement, value_at
from storage.interchange.mapping.taking import getter

MOST_ROWS = 8192
MOST_BYTES = 8 * 2**20  # of a file, read for one batch
Row = dict[str, Any]


class Batch(Protocol):
    """Rows that follow each other in one file.  Rows that no reader could read stand in `broken`."""

    part: Part
    broken: dict[int, RowError]

    @property
    def numbers(self) -> Sequence[int]:
        """The number of each row in its file, as a person counts."""

    def __len__(self) -> int: ...

    def rows_at(self, places: list[int]) -> list[Row]:
        """The rows at some places of the batch, in the order of the places."""

    def rests(self, used: set[str]) -> Iterator[Row]:
        """What each row holds beside the columns that are used."""
        ...

    def names(self) -> set[str]:
        """Every key of every row."""
        ...

    def values(self, statement: Statement) -> list[Any]:
        """One value a row; None where the row has none."""
        ...

    def texts(self, statement: Statement) -> Any:
        """An Arrow array of texts, null where the value is something else."""
        ...


class RowBatch:
    """Rows as dictionaries."""

    def __init__(self, part: Part, rows: Sequence[Numbered]) -> None:
        self.part = part
        self.numbers: Sequence[int] = [number for number, _ in rows]
        self.broken = {place: row for place, (_, row) in enumerate(rows) if isinstance(row, RowError)}
        self.rows: list[Row] = [{} if isinstance(row, RowError) else row for _, row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def rows_at(self, places: list[int]) -> list[Row]:
        """The dictionaries themselves."""
        return [self.rows[place] for place in places]

    def rests(self, used: set[str]) -> Iterator[Row]:
        """A new dictionary a row, without the columns that are used."""
        for row in self.rows:
            yield {k: v for k, v in row.items() if k not in used}

    def names(self) -> set[str]:
        """Every key of every row."""
        return set().union(*self.rows)

    def values(self, statement: Statement) -> list[Any]:
        """One value a row by the statement's path; None where the row has none."""
        get = getter(statement)
        return [get(row) for row in self.rows]

    def texts(self, statement: Statement) -> Any:
        """The same as an Arrow array of texts, null where the value is something else."""
        return text_array(self.values(statement))


class ArrowBatch:
    """A record batch."""

    def __init__(self, part: Part, first: int, table: Any) -> None:
        self.part = part
        self.numbers: Sequence[int] = range(first, first + table.num_rows)
        self.broken: dict[int, RowError] = {}
        self.table = table
        self._columns = {name: n for n, name in enumerate(table.schema.names)}

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def rows_at(self, places: list[int]) -> list[Row]:
        """The rows at some places as dictionaries: only these leave Arrow."""
        import pyarrow as pa

        if len(places) == len(self):
            rows: list[Row] = self.table.to_pylist()
        elif places:
            rows = self.table.take(pa.array(places, pa.int64())).to_pylist()
        else:
            rows = []
        return rows

    def rests(self, used: set[str]) -> Iterator[Row]:
        """A dictionary a row of the columns that nothing uses."""
        rest = [name for name in self._columns if name not in used]
        columns = [python_values(self.table.column(self._columns[name])) for name in rest]
        for values in zip(*columns, strict=True):
            yield dict(zip(rest, values, strict=True))

    def names(self) -> set[str]:
        """The table's columns."""
        return set(self._columns)

    def values(self, statement: Statement) -> list[Any]:
        """The column's cells, or what the path finds inside them; a constant as often as there are rows."""
        path = statement.path
        if path.constant is not None:
            return [path.constant] * len(self)
        if path.column not in self._columns:
            return [None] * len(self)
        values = python_values(self.table.column(self._columns[path.column]))
        rest = path.steps[1:]
        return [value_at(value, rest) for value in values] if rest else values

    def texts(self, statement: Statement) -> Any:
        """The column as it lies in the file where it is of strings, else gathered from `values`."""
        import pyarrow as pa

        path = statement.path
        if path.constant is None and len(path.steps) == 1 and path.column in self._columns:
            column = self.table.column(self._columns[path.column])
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            if pa.types.is_string(column.type):
                return column
            if pa.types.is_large_string(column.type):
                return column.cast(pa.string())
        return text_array(self.values(statement))


def text_array(values: list[Any]) -> Any:
    """Texts as Arrow holds them; what is no text, or holds half a character, is null."""
    import pyarrow as pa

    try:
        return pa.array(values, pa.string())
    except (pa.ArrowException, UnicodeEncodeError, TypeError):
        return pa.array([v if isinstance(v, str) and _whole(v) else None for v in values], pa.string())


def _whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def batches(source: Source) -> Iterator[Batch]:
    """All rows of all files."""
    for part in source.parts:
        if part.tables is not None:
            for first, table in part.tables():
                bad = isinstance(table, RowError)
                yield RowBatch(part, [(first, table)]) if bad else ArrowBatch(part, first, table)
        else:
            yield from _gathered(part)


def _gathered(part: Part) -> Iterator[Batch]:
    gathered: list[Numbered] = []
    start = 0
    for numbered in part.read():
        gathered.append(numbered)
        if len(gathered) >= MOST_ROWS or part.position() - start > MOST_BYTES:
            yield RowBatch(part, gathered)
            gathered = []
            start = part.position()
    part.position = lambda: part.size  # the file is closed now
    if gathered:
        yield RowBatch(part, gathered)
