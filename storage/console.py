"""Runs the researcher's own SQL: read-only unless unlocked, streamed as Arrow batches, interruptible."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from storage import sql_guard
from storage.errors import StoreError
from storage.literals import identifier
from storage.share.remote import RemoteCursor
from storage.store import Store

if TYPE_CHECKING:
    import pyarrow

BATCH_ROWS = 20_000
TEXT_ALONE = ("HUGEINT", "BIT", "TIME WITH TIME ZONE", "BIGNUM")
"""Types that Arrow, as DuckDB writes it, would round or change."""
UNKNOWN_TO_ARROW = re.compile(r'\bVARIANT\b|\bSTRUCT\((?!(?:"(?:[^"]|"")*"|\w+) (?!WITH TIME ZONE))')
"""VARIANT, and structures whose fields have no names."""
CANCEL_SECONDS = 0.02
"""DuckDB forgets an interruption that comes between two statements, so it is said again until it is heard."""
OUTSIDE = (
    "Here SQL reaches the store and its runs alone; for other files run `workbench sql --unlock` while "
    "nothing else has the store open."
)


class QueryError(StoreError):
    """DuckDB refused or gave up a query; the text is the first lines of its own."""

    begins = 0
    """Where the statement that it is about begins in the text: DuckDB counts lines from there."""


class QueryCancelledError(StoreError):
    """The person cancelled the query."""


class Batches:
    """An Arrow reader that counts what has been read."""

    def __init__(
        self,
        reader: pyarrow.RecordBatchReader,
        statements: int = 1,
        columns: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._reader = reader
        self.columns = list(columns)
        """(name, DuckDB's type) of each."""
        self.statements = statements
        """How many the text had; the rows are those of the last."""
        self.schema: pyarrow.Schema = reader.schema
        self.rows = 0

    def __iter__(self) -> Iterator[pyarrow.RecordBatch]:
        for batch in self._reader:
            self.rows += batch.num_rows
            yield batch


class Query:
    """One text of SQL on a cursor of its own.  `cancel` may be called from any thread."""

    def __init__(self, store: Store, sql: str) -> None:
        self.sql = sql
        self._store = store
        store.before(sql)
        self._cursor: Any = store.new_cursor()
        self._begins = 0  # where the statement begins that runs now
        self._cancelled, self._begun, self._ended = threading.Event(), threading.Event(), threading.Event()

    @contextmanager
    def stream(
        self, *, unlocked: bool, batch_rows: int = BATCH_ROWS, exact: bool = False
    ) -> Iterator[Batches]:
        """Run every statement; the last one's rows, computed as they are read.

        With `exact`, columns whose values Arrow would change come as text; rows without names, as `row(1, 2)`
        gives them, and VARIANT, which Arrow does not know, always do.

        Raises `RefusedError` for what a locked session may not do, `QueryError`, `QueryCancelledError`.
        """
        cursor = self._cursor
        with self._running():
            statements = self._all_but_last_run(unlocked=unlocked)
            last, types = _exactly(cursor, statements[-1]) if exact else (statements[-1], [])
            found = cursor.execute(_alone(cursor, last))
            if not exact and _unknown_to_arrow(found) and statements[-1].type == duckdb.StatementType.SELECT:
                last, types = _exactly(cursor, statements[-1], ())
                found = cursor.execute(_alone(cursor, last))
            count = sum(not sql_guard.is_pivot_type(s) for s in statements)
            yield Batches(found.to_arrow_reader(batch_rows), count, types or _columns(found))

    @contextmanager
    def rows(
        self, batch_rows: int = BATCH_ROWS
    ) -> Iterator[tuple[list[tuple[str, str]], Iterator[list[tuple[Any, ...]]]]]:
        """As `stream`, locked: (name, DuckDB's type) of each column, and lists of rows of Python values."""
        with self._running():
            statements = self._all_but_last_run(unlocked=False)
            found = self._cursor.execute(_alone(self._cursor, statements[-1]))
            yield _columns(found), iter(lambda: found.fetchmany(batch_rows), [])

    def _all_but_last_run(self, *, unlocked: bool) -> list[Any]:
        """Look at the text and run its statements but the last; all of them."""
        cursor = self._cursor
        if not unlocked:
            self._store.lock_down()  # before anything of the text is looked at
        statements = sql_guard.parse(cursor, self.sql)
        if not unlocked and not isinstance(cursor, RemoteCursor):  # its holder looks at each question itself
            sql_guard.check_locked(cursor, self.sql, statements)
            cursor.execute("BEGIN TRANSACTION READ ONLY")
        for statement in statements:
            self._begins = max(self._begins, self.sql.find(statement.query, self._begins))
            if statement is not statements[-1]:
                cursor.execute(_alone(cursor, statement)).fetchall()
        return statements

    @contextmanager
    def _running(self) -> Iterator[None]:
        """The time in which the query can be cancelled; its cursor is closed at the end."""
        self._begun.set()
        try:
            with told():
                if self._cancelled.is_set():
                    raise QueryCancelledError("The query was cancelled.")
                yield
        except QueryError as error:
            error.begins = self._begins
            raise
        finally:
            self._ended.set()
            self._cursor.close()

    def export(self, path: Path) -> int:
        """Write the rows of one SELECT to a file that appears whole or not at all; the number of rows."""
        from storage.interchange.exporting import copy_to_file

        with self._running():
            self._store.lock_down()
            select = _single_select(self._cursor, self.sql)
            return copy_to_file(self._cursor, select, path, outbox=self._store.outbox)

    @property
    def cancelled(self) -> bool:
        """Whether somebody has cancelled it."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End the query, whether it runs, is between two of its statements, or has not begun; at once."""
        self._interrupt()
        if not self._cancelled.is_set():
            self._cancelled.set()
            if self._begun.is_set() and not self._ended.is_set():
                threading.Thread(target=self._insist, name="cancel-query", daemon=True).start()

    def _insist(self) -> None:
        while not self._ended.wait(CANCEL_SECONDS):
            self._interrupt()

    def _interrupt(self) -> None:
        with suppress(duckdb.Error):  # it may have ended and closed in this moment
            self._cursor.interrupt()


@contextmanager
def told() -> Iterator[None]:
    """DuckDB's errors as ours."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise QueryCancelledError("The query was cancelled.") from error
    except (duckdb.Error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the reader's own trouble, a closed pipe for instance
        if "INTERRUPT" in str(error):  # so pyarrow says what DuckDB told it
            raise QueryCancelledError("The query was cancelled.") from error
        text = sql_guard.first_lines(error)
        raise QueryError(f"{text} {OUTSIDE}" if "disabled by configuration" in text else text) from error


def _alone(cursor: Any, statement: Any) -> Any:
    """A statement as text of its own, where it is one.

    Of a statement among others DuckDB says where its fault is as if it began where the first does.
    """
    text = statement if isinstance(statement, str) else statement.query
    return text if text and len(cursor.extract_statements(text)) == 1 else statement


def _exactly(
    cursor: Any, statement: Any, changed: Sequence[str] = TEXT_ALONE
) -> tuple[Any, list[tuple[str, str]]]:
    """A statement that gives columns as text which Arrow would change or does not know; names and types.

    The types are as they were, of what Arrow does not know text.

    There are none where DuckDB does not tell them beforehand.
    """
    try:
        found = cursor.execute(f"DESCRIBE {statement.query}").fetchall()
    except duckdb.Error:
        return statement, []  # if it is wrong, running it says so
    types = [(name, kind) for name, kind, *_ in found]
    texts = [
        any(word in kind for word in changed) or UNKNOWN_TO_ARROW.search(kind) is not None
        for _, kind in types
    ]
    told_types = [(name, "VARCHAR" if UNKNOWN_TO_ARROW.search(kind) else kind) for name, kind in types]
    if not any(texts):
        return statement, told_types
    columns = ", ".join(
        f"#{place}{'::VARCHAR' if text else ''} AS {identifier(name)}"
        for place, ((name, _), text) in enumerate(zip(types, texts, strict=True), 1)
    )
    return f"SELECT {columns} FROM ({_without_end(statement.query)})", told_types


def _unknown_to_arrow(found: Any) -> bool:
    return any(UNKNOWN_TO_ARROW.search(kind) for _, kind in _columns(found))


def _columns(found: Any) -> list[tuple[str, str]]:
    return [(name, str(kind)) for name, kind, *_ in found.description]


def _single_select(cursor: Any, sql: str) -> str:
    statements = sql_guard.parse(cursor, sql)
    if len(statements) != 1:
        raise sql_guard.RefusedError("Only one statement can be exported at a time.")
    if not isinstance(cursor, RemoteCursor):  # its holder looks at each question itself
        sql_guard.check_locked(cursor, sql, statements)
    return _without_end(statements[0].query)


def _without_end(query: str) -> str:
    """A statement without the semicolon after it; a comment may still end it, so a line end is added."""
    text = query.encode("utf-8", "surrogatepass")  # DuckDB counts bytes
    for offset, _ in reversed(duckdb.tokenize(query)):
        if text[offset : offset + 1] != b";":
            break
        text = text[:offset]
    return text.decode("utf-8", "surrogatepass") + "\n"
