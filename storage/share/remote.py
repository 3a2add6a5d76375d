"""A store that another process holds, read through that process.

`RemoteStore` answers the reading half of `Store` with the questions of `storage.share.asking`, so every
service that only reads works on it as it is; whatever would change the store raises the LockedError that says
who holds it.  A statement is one question: what a service asks in several is as of several moments, as it is
in the holder itself.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import duckdb

from storage.errors import LockedError, ShareError, StoreError
from storage.file import walls
from storage.file.faults import told
from storage.literals import filled_in, identifier
from storage.share.asking import RemoteAnswer, shared_by, stream
from storage.sql import block
from storage.sql_guard import check_locked, first_lines
from storage.store import CONFIG, Cursor, Parameters, Store

ANSWER = "workbench_answer"
PLAIN = {"BOOLEAN", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP"}
"""Types that come out of Arrow as they went in."""


class RemoteStore(Store):
    """The store at `path` while another process holds it; `locked` is what the attempt to open it raised."""

    def __init__(self, path: Path, locked: LockedError, runs_root: Path | None = None) -> None:
        """Raises ShareError where nobody shares the store, or the one who did does not answer."""
        file = path.expanduser().absolute()
        shared_by(file)
        super().__init__(
            duckdb.connect(":memory:", config=CONFIG), file, runs_root or file.with_suffix(".runs")
        )
        self.locked = locked
        self._asking: weakref.WeakSet[RemoteCursor] = weakref.WeakSet()
        try:
            self.rows("SELECT 1")
        except BaseException:
            self.close()
            raise

    @classmethod
    def beside(cls, path: Path | str, locked: LockedError, runs_root: Path | None = None) -> RemoteStore:
        """Read the store through its holder.  Raises `locked` itself where the holder does not answer."""
        try:
            return cls(Path(path), locked, runs_root)
        except ShareError:
            raise locked from None

    def cursor(self) -> Cursor:
        """This thread's cursor, for rows of Python values."""
        cursor: Any = super().cursor()
        cursor.plain = True
        return cursor

    def new_cursor(self) -> Cursor:
        """A further cursor that asks the holder."""
        return self._remote_cursor()  # type: ignore[return-value]

    def _remote_cursor(self) -> RemoteCursor:
        cursor = RemoteCursor(super().new_cursor(), self)
        self._asking.add(cursor)
        return cursor

    def do(self, what: str, text: str = "") -> Any:
        """Have the holder do one of `storage.share.deeds`.  Raises ShareError, RefusedError."""
        return RemoteAnswer(self.path or Path(), **{"do": what, "with": text}).done()

    def ask(self, sql: str) -> RemoteCursor:
        """The answer to one SELECT.  Raises as `RemoteCursor.execute` does."""
        return self._remote_cursor().execute(sql)

    def close(self) -> None:
        """Let go of the holder; what was asked and not read to its end is cancelled."""
        for cursor in list(self._asking):
            cursor.close()
        super().close()

    def before(self, sql: str) -> None:
        """The holder sees to its own files."""

    def lock_down(self, *, settings: bool = False) -> None:
        """The holder stands behind its own walls; here the network is needed to ask it."""

    def spare_memory(self, most: int | None) -> None:
        """The holder's memory is its own affair."""

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        raise self.locked
        yield self.cursor()


class RemoteCursor:
    """What services use of a DuckDB cursor, asked of the holder; one SELECT at a time.

    A `plain` one gets rows of Python values, as the holder's own cursor gives them.  Another gets a stream of
    Arrow; where that does not hold DuckDB's types, a database in memory reads it and gives them back.
    """

    def __init__(self, cursor: Cursor, store: RemoteStore) -> None:
        self.plain = False
        self._cursor, self._store = cursor, store
        self._question = ""
        self._answer: RemoteAnswer | None = None
        self._columns: list[tuple[str, str]] = []
        self._rows: Iterator[tuple[Any, ...]] | None = None
        self._loaded = self._interrupted = False

    def execute(self, sql: str | duckdb.Statement, parameters: Parameters = None) -> RemoteCursor:
        """Ask one text.  Raises RefusedError for what does more than read, ShareError with what is wrong."""
        question = filled_in(sql if isinstance(sql, str) else sql.query, parameters)
        answer = self._send(question, rows=self.plain)
        if self.plain:
            self._rows = chain.from_iterable(answer.rows())
        return self

    def copy(self, select: str, target: str, options: str) -> RemoteCursor:
        """Write the answer to a file of this process: `COPY (select) TO target (options)`."""
        self._load(self._send(select, rows=False), f"COPY ({{}}) TO {target} ({options})")
        return self

    def _send(self, question: str, *, rows: bool) -> RemoteAnswer:
        """Ask, and wait for the columns.  Whoever interrupts this while it is sent is heard."""
        self._let_go()
        self._rows, self._loaded, self._interrupted = None, False, False
        self._question = question
        answer = self._answer = RemoteAnswer(self._store.path or Path(), ask=question, rows=rows)
        if self._interrupted:
            answer.close()
        with self._telling(answer):
            self._columns = answer.columns()
        return answer

    def _load(self, answer: RemoteAnswer, sql: str = "{}") -> None:
        """Run `sql` here, with the answer in the place of its `{}`."""
        with self._telling(answer):
            columns = [as_told(place, *column) for place, column in enumerate(self._columns, 1)]
            self._cursor.register(ANSWER, stream(answer))
            self._cursor.execute(sql.replace("{}", f"SELECT {', '.join(columns)} FROM {ANSWER}", 1))
        self._loaded = True

    @contextmanager
    def _telling(self, answer: RemoteAnswer) -> Iterator[None]:
        """What has cut the answer, in the place of what that did to DuckDB here."""
        try:
            yield
        except (duckdb.Error, OSError) as error:
            if answer.closed:
                raise duckdb.InterruptException("INTERRUPT Error: Interrupted!") from error
            if answer.failed is not None:
                raise answer.failed from error
            raise

    def _let_go(self) -> None:
        if self._answer is not None:
            self._answer.close()

    def extract_statements(self, sql: str) -> list[Any]:
        """The statements of a text, parsed here: nothing is sent."""
        return self._cursor.extract_statements(sql)

    @property
    def description(self) -> list[tuple[Any, ...]]:
        """Columns of the last answer, as DuckDB gives them: name, type, and nothing else known."""
        return [(name, kind, *(None,) * 5) for name, kind in self._columns]

    @contextmanager
    def _fetching(self) -> Iterator[Iterator[tuple[Any, ...]]]:
        """The rows that have not been fetched."""
        answer = self._asked()
        with self._telling(answer):
            if self._rows is None:
                if not self._loaded:
                    self._load(answer)
                self._rows = iter(self._cursor.fetchone, None)
            yield self._rows

    def fetchall(self) -> list[Any]:
        with self._fetching() as rows:
            return list(rows)

    def fetchone(self) -> Any:
        with self._fetching() as rows:
            return next(rows, None)

    def fetchmany(self, size: int) -> list[Any]:
        """The next rows, at most `size`; empty at the end."""
        with self._fetching() as rows:
            return list(islice(rows, size))

    def _asked(self) -> RemoteAnswer:
        if self._answer is None:
            raise StoreError("Nothing has been asked.")
        return self._answer

    def to_arrow_reader(self, batch_rows: int) -> Any:
        """The rows as Arrow batches, read as they are asked for; none may have been fetched."""
        answer = self._send(self._question, rows=False) if self._rows is not None else self._asked()
        if all(kind in PLAIN for _, kind in self._columns):
            return self._as_it_comes(answer, batch_rows)
        self._load(answer)
        return self._cursor.to_arrow_reader(batch_rows)

    def _as_it_comes(self, answer: RemoteAnswer, batch_rows: int) -> Any:
        """The answer's own batches under the names of the columns."""
        import pyarrow

        with self._telling(answer):
            coming = stream(answer)
        named = zip(coming.schema, self._columns, strict=True)
        schema = pyarrow.schema([field.with_name(name) for field, (name, _) in named])

        def batches() -> Iterator[Any]:
            with self._telling(answer):
                for batch in coming:
                    for start in range(0, batch.num_rows, batch_rows):
                        columns = batch.slice(start, batch_rows).columns
                        yield pyarrow.RecordBatch.from_arrays(columns, schema=schema)

        return pyarrow.RecordBatchReader.from_batches(schema, batches())

    def interrupt(self) -> None:
        """Ends the statement that runs, here and in the holder, from another thread."""
        self._interrupted = True
        self._let_go()
        self._cursor.interrupt()

    def close(self) -> None:
        self._let_go()
        self._cursor.close()


def as_told(place: int, name: str, kind: str) -> str:
    """A column of the answer under its name, with the type that it has in the holder."""
    as_it_came = kind in PLAIN or kind.startswith("ENUM(")  # whose values have come as text
    return f"#{place}{'' if as_it_came else f'::{kind}'} AS {identifier(name)}"


def _runs_of(connection: Cursor) -> list[Path]:
    """The folder of run directories that a database remembers."""
    row = connection.execute(block("store", "remembered"), {"key": "runs_root"}).fetchone()
    return [Path(row[0])] if row and row[0] else []


class OwnReader:
    """One query on a store that nobody holds, which is open, and only for reading, until `close`."""

    def __init__(self, path: Path) -> None:
        with told(path):
            self._connection = duckdb.connect(str(path), read_only=True, config=CONFIG)
            walls.lock(self._connection, _runs_of(self._connection), settings=True)

    def ask(self, sql: str) -> OwnReader:
        """Run one SELECT.  Raises RefusedError for anything else, QueryError with DuckDB's words."""
        check_locked(self._connection, sql)
        try:
            self._connection.execute(sql)
        except duckdb.Error as error:
            raise StoreError(first_lines(error)) from error
        return self

    def to_arrow_reader(self, batch_rows: int) -> Any:
        """The rows as Arrow batches, read as they are asked for."""
        return self._connection.to_arrow_reader(batch_rows)

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()
