"""SQL for the researcher: read-only unless unlocked, any size, cancellable, remembered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from storage import queries
from storage.console import BATCH_ROWS, Batches, Query, QueryCancelledError, QueryError
from storage.errors import DiskFullError
from storage.file import spilling
from storage.records import SavedQuery, TableInfo
from storage.share.remote import RemoteStore
from storage.store import Store

if TYPE_CHECKING:
    import pyarrow

    from workbench.services.sql.result_rows import ResultRows

DISPLAY_ROWS = 1_000_000
"""`run` keeps at most this many rows in memory unless told otherwise; `stream` and `export` have no limit."""
MOST_ROWS = 20_000_000
"""`SqlQuestion.rows` reads at most this many."""
PAGE_ROWS = 4_096
"""Rows of one batch of a `SqlQuestion`: the first is on the screen before the second is computed."""


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


@dataclass(frozen=True)
class Fetched:
    """How reading the rows of a `SqlQuestion` ended."""

    seconds: float
    truncated: bool
    """True when the query had more rows than were read."""
    statements: int
    stopped: str = ""
    """Why it ended before its end, a sentence; empty where it did not."""


class SqlQuestion:
    """One text of SQL of a screen, which shows rows while others come.  `cancel` from any thread."""

    def __init__(self, sql: Sql, text: str, *, unlocked: bool = False) -> None:
        self.text = text
        self.cancelled = False
        self._sql, self._unlocked = sql, unlocked
        self._query: Query | None = None

    def rows(
        self,
        came: Callable[[ResultRows], Callable[[pyarrow.RecordBatch], None] | None],
        most: int | None = None,
    ) -> Fetched:
        """Run it.  `came` hears of the rows once, when the first are there; the others follow into the same.

        What `came` gives back hears of each batch that follows.

        What ends it after the first rows leaves them; before, it raises as `Sql.run` does.
        """
        from workbench.services.sql.result_rows import ResultRows, RowsClosedError

        keep = MOST_ROWS if most is None else most
        folder = spilling.folder(self._sql.store.path) if self._sql.store.path is not None else None
        started = time.monotonic()
        rows: ResultRows | None = None
        heard: Callable[[pyarrow.RecordBatch], None] | None = None
        truncated, statements, stopped = False, 1, ""
        with self._sql.asking(self.text, self._known) as (query, done):
            try:
                with query.stream(unlocked=self._unlocked, batch_rows=PAGE_ROWS) as batches:
                    statements = batches.statements
                    made = ResultRows(batches.schema, folder, self._sql.store.leave_room)
                    for batch in batches:
                        if batch.num_rows and len(made) < keep:
                            made.add(batch.slice(0, keep - len(made)))
                            if rows is None:
                                rows, heard = made, came(made)
                            elif heard is not None:
                                heard(batch)
                        truncated = batches.rows > keep
                        if truncated:
                            break
                    if rows is None:
                        rows, _ = made, came(made)
            except RowsClosedError:
                stopped = "Closed."
            except (QueryCancelledError, DiskFullError, OSError) as error:
                if rows is None:
                    raise
                stopped = str(error)
            done.append(len(rows) if rows is not None else 0)
        return Fetched(time.monotonic() - started, truncated, statements, stopped)

    def export(self, path: Path | str) -> int:
        """Write all its rows to a file, as `Sql.export` does."""
        return self._sql.export(self.text, path, self._known)

    def cancel(self) -> None:
        """Interrupt it, now or as soon as it begins."""
        self.cancelled = True
        if self._query is not None:
            self._query.cancel()

    def _known(self, query: Query) -> None:
        self._query = query
        if self.cancelled:
            raise QueryCancelledError("The query was cancelled.")


def unheard(query: Query) -> None:
    """For who need not know the query that begins."""


class Sql:
    """Queries on one store, each on a cursor of its own; `cancel` may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._guard = threading.Lock()
        self._running: set[Query] = set()

    def question(self, text: str, *, unlocked: bool = False) -> SqlQuestion:
        """A text that can be run and cancelled apart from others."""
        return SqlQuestion(self, text, unlocked=unlocked)

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
    def stream(self, sql: str, *, unlocked: bool = False, batch_rows: int = BATCH_ROWS) -> Iterator[Batches]:
        """The last statement's result as Arrow batches, computed as they are read; errors as in `run`."""
        with (
            self.asking(sql) as (query, done),
            query.stream(unlocked=unlocked, batch_rows=batch_rows) as batches,
        ):
            yield batches
            done.append(batches.rows)

    def export(self, sql: str, path: Path | str, begun: Callable[[Query], None] = unheard) -> int:
        """Write the rows of one SELECT to a .csv, .tsv, .parquet, .json or .jsonl file; the number of rows.

        The file appears whole or not at all.  `begun` hears of the query.
        """
        with self.asking(sql, begun) as (query, done):
            done.append(query.export(Path(path)))
        return done[0]

    def cancel(self) -> None:
        """Interrupt every query that runs now."""
        with self._guard:
            running = list(self._running)
        for query in running:
            query.cancel()

    def history(self, limit: int = 200) -> list[SavedQuery]:
        """What was run, newest first."""
        return queries.history(self.store, limit)

    def save(self, name: str, sql: str) -> str:
        """Keep a query under a name; the id."""
        return queries.save(self.store, name, sql)

    def forget(self, name: str) -> None:
        """Drop the query of that name; what was run under it stays in the history."""
        queries.forget(self.store, name)

    def saved(self) -> list[SavedQuery]:
        """Queries that have a name, newest first."""
        return queries.saved(self.store)

    def offered(self, parameter: str) -> list[str]:
        """What a parameter of that name may be: names of reward models, policies, runs, …; often nothing."""
        return queries.offered(self.store, parameter)

    def named(self, name: str) -> str:
        """The SQL of a query of the gallery, or of one saved.  Raises UsageError with the near match."""
        from workbench.services.sql.gallery import gallery

        known = {query.name: query.sql for query in gallery()}
        known |= {query.name: query.sql for query in self.saved() if query.name}
        if name not in known:
            raise UsageError(f"There is no query “{name}”. {did_you_mean(name, known)}")
        return known[name]

    @contextmanager
    def asking(self, sql: str, begun: Callable[[Query], None] = unheard) -> Iterator[tuple[Query, list[int]]]:
        """A query, remembered with the rows that the caller puts into the list, or its error."""
        done: list[int] = []
        query = Query(self.store, sql)
        started = time.monotonic()
        with self._guard:
            self._running.add(query)
        try:
            begun(query)
            yield query, done
        except QueryError as error:
            self._remember(sql, seconds=time.monotonic() - started, error=str(error))
            raise
        finally:
            with self._guard:
                self._running.discard(query)
        self._remember(sql, rows=done[0] if done else None, seconds=time.monotonic() - started)

    def _remember(
        self, sql: str, *, rows: int | None = None, seconds: float | None = None, error: str | None = None
    ) -> None:
        if isinstance(self.store, RemoteStore):  # the history belongs to whoever holds the store
            return
        queries.remember(self.store, sql, rows=rows, seconds=seconds, error=error)
