"""SQL for the researcher: read-only unless unlocked, any size, cancellable, remembered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from storage import queries
from storage.console import Batches, Query, QueryError
from storage.records import SavedQuery, TableInfo
from storage.remote import RemoteStore
from storage.store import Store

if TYPE_CHECKING:
    import pyarrow

DISPLAY_ROWS = 1_000_000
"""`run` keeps at most this many rows in memory unless told otherwise; `stream` and `export` have no limit."""


@dataclass(frozen=True)
class Result:
    """What a query gave."""

    columns: tuple[str, ...]
    table: pyarrow.Table
    seconds: float
    truncated: bool
    """True when the query had more rows than `table` keeps."""
    statements: int = 1
    """How many statements the text had; `table` is what the last one gave."""

    @property
    def rows(self) -> int:
        """Rows that were fetched; `truncated` says whether the query had others."""
        return int(self.table.num_rows)


class Sql:
    """Queries on one store.  One runs at a time; `cancel` may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._turn = threading.Lock()
        self._running: Query | None = None

    def functions(self) -> list[str]:
        """Names of the functions that SQL knows here, the store's own among them."""
        return queries.functions(self.store)

    def tree(self) -> list[TableInfo]:
        """Tables and views of the store with their columns, by name."""
        return queries.tree(self.store)

    def run(self, sql: str, unlocked: bool = False, limit: int | None = None) -> Result:
        """Run every statement of `sql` and keep up to `limit` rows of the last one's result.

        Raises `RefusedError` for what a locked session may not do, `QueryError` with DuckDB's words,
        `QueryCancelledError` after `cancel`.
        """
        import pyarrow

        keep = DISPLAY_ROWS if limit is None else limit
        started = time.monotonic()
        slices, rows, truncated = [], 0, False
        with self.stream(sql, unlocked=unlocked) as batches:
            for batch in batches:
                slices.append(batch.slice(0, keep - rows))
                rows += slices[-1].num_rows
                truncated = batch.num_rows > slices[-1].num_rows
                if truncated:
                    break
            table = pyarrow.Table.from_batches(slices, schema=batches.schema)
            statements = batches.statements
        return Result(tuple(table.column_names), table, time.monotonic() - started, truncated, statements)

    @contextmanager
    def stream(self, sql: str, *, unlocked: bool = False) -> Iterator[Batches]:
        """The last statement's result as Arrow batches, computed as they are read; errors as in `run`."""
        with self._query(sql) as (query, done), query.stream(unlocked=unlocked) as batches:
            yield batches
            done.append(batches.rows)

    def export(self, sql: str, path: Path | str) -> int:
        """Write the rows of one SELECT to a .csv, .parquet or .jsonl file; the number of rows.

        The file appears whole or not at all.
        """
        with self._query(sql) as (query, done):
            done.append(query.export(Path(path)))
        return done[0]

    def cancel(self) -> None:
        """Interrupt the query that runs now, if one does."""
        query = self._running
        if query is not None:
            query.cancel()

    def history(self, limit: int = 200) -> list[SavedQuery]:
        """What was run, newest first."""
        return queries.history(self.store, limit)

    def save(self, name: str, sql: str) -> str:
        """Keep a query under a name; the id."""
        return queries.save(self.store, name, sql)

    def saved(self) -> list[SavedQuery]:
        """Queries that have a name, newest first."""
        return queries.saved(self.store)

    def named(self, name: str) -> str:
        """The SQL of a query of the gallery, or of one saved.  Raises UsageError with the near match."""
        from workbench.services.gallery import gallery

        known = {query.name: query.sql for query in gallery()}
        known |= {query.name: query.sql for query in self.saved() if query.name}
        if name not in known:
            raise UsageError(f"There is no query “{name}”. {did_you_mean(name, known)}")
        return known[name]

    @contextmanager
    def _query(self, sql: str) -> Iterator[tuple[Query, list[int]]]:
        """A query in its turn, remembered with the rows that the caller puts into the list, or its error."""
        done: list[int] = []
        with self._turn:
            self._running = Query(self.store, sql)
            started = time.monotonic()
            try:
                yield self._running, done
            except QueryError as error:
                self._remember(sql, seconds=time.monotonic() - started, error=str(error))
                raise
            finally:
                self._running = None
        self._remember(sql, rows=done[0] if done else None, seconds=time.monotonic() - started)

    def _remember(
        self, sql: str, *, rows: int | None = None, seconds: float | None = None, error: str | None = None
    ) -> None:
        if isinstance(self.store, RemoteStore):  # the history belongs to whoever holds the store
            return
        queries.remember(self.store, sql, rows=rows, seconds=seconds, error=error)
