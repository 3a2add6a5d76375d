"""A store that another process holds, read through that process.

`RemoteStore` answers the reading half of `Store` with the questions of `storage.sharing`, so every service
that only reads works on it as it is; whatever would change the store raises the LockedError that says who
holds it.  A statement is one question: what a service asks in several is as of several moments, as it is in
the holder itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from storage import walls
from storage.errors import LockedError, ShareError, StoreError
from storage.faults import told
from storage.literals import filled_in, literal
from storage.sharing import HELD, client, refusal
from storage.sql import block
from storage.sql_guard import check_locked, first_lines
from storage.store import CONFIG, Cursor, Parameters, Store


class RemoteStore(Store):
    """The store at `path` while another process holds it; `locked` is what the attempt to open it raised."""

    def __init__(self, path: Path, locked: LockedError, runs_root: Path | None = None) -> None:
        """Raises ShareError where nobody shares the store, or the one who did does not answer."""
        file = path.expanduser().absolute()
        super().__init__(client(file), file, runs_root or file.with_suffix(".runs"))
        self.locked = locked
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

    def new_cursor(self) -> Cursor:
        """A further cursor that asks the holder."""
        return RemoteCursor(super().new_cursor(), self)  # type: ignore[return-value]

    def ask(self, sql: str) -> RemoteCursor:
        """The answer to one SELECT.  Raises as `RemoteCursor.execute` does."""
        return RemoteCursor(super().new_cursor(), self).execute(sql)

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
    """What services use of a DuckDB cursor, asked of the holder; one SELECT at a time."""

    def __init__(self, cursor: Cursor, store: RemoteStore) -> None:
        self._cursor, self._store = cursor, store

    def execute(self, sql: str | duckdb.Statement, parameters: Parameters = None) -> RemoteCursor:
        """Ask one SELECT.  Raises RefusedError for anything else, ShareError with what is wrong."""
        question = filled_in(sql if isinstance(sql, str) else sql.query, parameters)
        check_locked(self._cursor, question)
        self._run(f"FROM {HELD}($question)", {"question": question})
        return self

    def copy(self, select: str, target: str, options: str) -> RemoteCursor:
        """Write the answer to a file of this process: `COPY (select) TO target (options)`."""
        check_locked(self._cursor, select)
        self._run(f"COPY (FROM {HELD}({literal(select)})) TO {target} ({options})", None)
        return self

    def _run(self, sql: str, parameters: Parameters) -> None:
        try:
            self._cursor.execute(sql, parameters)
        except duckdb.InterruptException:
            raise
        except duckdb.Error as error:
            raise refusal(str(error), self._store.path or Path()) from error

    def extract_statements(self, sql: str) -> list[Any]:
        """The statements of a text, parsed here: nothing is sent."""
        return self._cursor.extract_statements(sql)

    @property
    def description(self) -> Any:
        """Columns of the last answer, as DuckDB gives them; None before one."""
        return self._cursor.description

    def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchmany(self, size: int) -> list[Any]:
        """The next rows, at most `size`; empty at the end."""
        return self._cursor.fetchmany(size)

    def to_arrow_reader(self, batch_rows: int) -> Any:
        """The rest as Arrow batches, read as they are asked for."""
        return self._cursor.to_arrow_reader(batch_rows)

    def interrupt(self) -> None:
        """Ends the statement that runs, from another thread."""
        self._cursor.interrupt()

    def close(self) -> None:
        self._cursor.close()


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
