"""SQL for the researcher: read-only unless unlocked, streamed as Arrow batches, cancellable, remembered."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError, WorkbenchError
from storage import saved_queries
from storage.records import Relation, SavedQuery
from storage.store import Store
from workbench.services import sql_guard

if TYPE_CHECKING:
    import pyarrow

BATCH_ROWS = 20_000
DISPLAY_ROWS = 1_000_000
"""`run` keeps at most this many rows in memory unless told otherwise; `stream` and `export` have no limit."""
EXPORT_FORMATS = {
    ".csv": "FORMAT csv, HEADER",
    ".parquet": "FORMAT parquet",
    ".jsonl": "FORMAT json",
    ".ndjson": "FORMAT json",
}


class QueryError(WorkbenchError):
    """DuckDB refused or gave up a query; the text is its first line."""


class QueryCancelledError(WorkbenchError):
    """The person cancelled the query."""


@dataclass(frozen=True)
class Result:
    """What a query gave."""

    columns: tuple[str, ...]
    table: pyarrow.Table
    seconds: float
    truncated: bool
    """True when the query had more rows than `table` keeps."""

    @property
    def rows(self) -> int:
        return int(self.table.num_rows)


class Batches:
    """An Arrow reader that counts what has been read."""

    def __init__(self, reader: pyarrow.RecordBatchReader) -> None:
        self._reader = reader
        self.schema: pyarrow.Schema = reader.schema
        self.rows = 0

    def __iter__(self) -> Iterator[pyarrow.RecordBatch]:
        for batch in self._reader:
            self.rows += batch.num_rows
            yield batch


class Sql:
    """Queries on one store.  One runs at a time; `cancel` may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._turn = threading.Lock()
        self._running: Any = None  # the cursor of the query that runs now

    def tree(self) -> list[Relation]:
        """Tables and views of the store with their columns, by name."""
        return saved_queries.relations(self.store)

    def run(self, sql: str, unlocked: bool = False, limit: int | None = None) -> Result:
        """Run every statement of `sql` and keep up to `limit` rows of the last one's result.

        Raises `UsageError` for what a locked session may not do, `QueryError` with DuckDB's words,
        `QueryCancelledError` after `cancel`.
        """
        import pyarrow

        keep = DISPLAY_ROWS if limit is None else limit
        started = time.monotonic()
        kept, rows, truncated = [], 0, False
        with self.stream(sql, unlocked=unlocked) as batches:
            for batch in batches:
                kept.append(batch.slice(0, keep - rows))
                rows += kept[-1].num_rows
                truncated = batch.num_rows > kept[-1].num_rows
                if truncated:
                    break
            table = pyarrow.Table.from_batches(kept, schema=batches.schema)
        return Result(tuple(table.column_names), table, time.monotonic() - started, truncated)

    @contextmanager
    def stream(self, sql: str, *, unlocked: bool = False, batch_rows: int = BATCH_ROWS) -> Iterator[Batches]:
        """The last statement's result as Arrow batches, computed as they are read; errors as in `run`."""
        started = time.monotonic()
        with self._turn:
            cursor = self._running = self.store.new_cursor()
            try:
                with self._told(sql, started):
                    statements = sql_guard.parse(cursor, sql)
                    if not unlocked:
                        sql_guard.check_locked(cursor, sql)
                        cursor.execute("BEGIN TRANSACTION READ ONLY")
                    for statement in statements[:-1]:
                        cursor.execute(statement).fetchall()
                    batches = Batches(cursor.execute(statements[-1]).to_arrow_reader(batch_rows))
                    yield batches
            finally:
                self._running = None
                cursor.close()
        self._remember(sql, rows=batches.rows, seconds=time.monotonic() - started)

    def cancel(self) -> None:
        """Interrupt the query that runs now, if one does."""
        cursor = self._running
        if cursor is not None:
            with suppress(Exception):  # it may have ended and closed in this moment
                cursor.interrupt()

    def history(self, limit: int = 200) -> list[SavedQuery]:
        """Queries that were run or saved, newest first."""
        return saved_queries.history(self.store, limit=limit)

    def export(self, sql: str, path: Path | str) -> int:
        """Write the rows of one SELECT to a .csv, .parquet or .jsonl file; the number of rows.

        The file appears whole or not at all.
        """
        target = Path(path)
        options = export_options(target)
        started = time.monotonic()
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        with self._turn:
            cursor = self._running = self.store.new_cursor()
            try:
                with self._told(sql, started):
                    select = _single_select(cursor, sql)
                    quoted = str(partial).replace("'", "''")
                    written = cursor.execute(f"COPY ({select}) TO '{quoted}' ({options})").fetchone()
                os.replace(partial, target)
            finally:
                self._running = None
                cursor.close()
                partial.unlink(missing_ok=True)
        rows = int(written[0]) if written else 0
        self._remember(sql, rows=rows, seconds=time.monotonic() - started)
        return rows

    @contextmanager
    def _told(self, sql: str, started: float) -> Iterator[None]:
        """DuckDB's errors as ours, remembered with the query."""
        import duckdb

        try:
            yield
        except duckdb.InterruptException as error:
            raise QueryCancelledError("The query was cancelled.") from error
        except (duckdb.Error, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the reader's own trouble, a closed pipe for instance
            if "INTERRUPT" in str(error):  # so pyarrow says what DuckDB told it
                raise QueryCancelledError("The query was cancelled.") from error
            told = QueryError(sql_guard.first_line(error))
            self._remember(sql, seconds=time.monotonic() - started, error=str(told))
            raise told from error

    def _remember(
        self, sql: str, *, rows: int | None = None, seconds: float | None = None, error: str | None = None
    ) -> None:
        saved_queries.remember(self.store, sql, rows=rows, seconds=seconds, error=error)


def export_options(path: Path) -> str:
    """COPY options for the ending of `path`; `UsageError` for an ending that no format has."""
    try:
        return EXPORT_FORMATS[path.suffix.lower()]
    except KeyError:
        endings = ", ".join(EXPORT_FORMATS)
        raise UsageError(f"“{path.name}” must end in one of {endings}, which says the format.") from None


def _single_select(cursor: Any, sql: str) -> str:
    statements = sql_guard.parse(cursor, sql)
    if len(statements) != 1:
        raise UsageError("Only one statement can be exported at a time.")
    sql_guard.check_locked(cursor, sql)
    query: str = statements[0].query.strip().rstrip(";")
    return query + "\n"  # the statement may end in a comment
