"""The Quack server, in a database of its own that holds nothing but answers.

Quack knows no way to end a query whose asker has gone.  So the door takes the question out of a message, has
it answered as every question of another process is (`storage.console`: locked, and ended with its asker), and
lets the server ask for the rows that came, the only thing that it may be asked.  It reaches no table of the
store, no file and no network.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from storage.console import Query
from storage.errors import ShareError, StoreError
from storage.file import spilling
from storage.share.extensions import load_extensions
from storage.share.remote import as_told
from storage.sql_guard import RefusedError, first_lines, locked_parser, parse
from storage.store import CONFIG, Store

if TYPE_CHECKING:
    import pyarrow

GUARD = "workbench_only_answers"
MEMORY = "1GB"  # what is more lies in the private folder beside the store
SILENT_SECONDS = 3600.0
"""After so long a session is held to be over whose client has not said so."""


@dataclass
class _Session:
    heard: float
    table: str
    asked: str


class QuackAnswers:
    """A Quack server on `port`, and what it may be asked, session by session.  Thread-safe."""

    def __init__(self, store: Store, token: str) -> None:
        """Raises ShareError where a package is missing or the server does not start."""
        self._store = store
        self._guard = threading.Lock()
        self._sessions: dict[str, _Session] = {}
        self._spill = spilling.answers(store.path) if store.path is not None else None
        config = {**CONFIG, "memory_limit": MEMORY, "temp_directory": str(self._spill or "")}
        self._database = duckdb.connect(":memory:", config=config)
        try:
            load_extensions(self._database)
            self._database.create_function(GUARD, self._allowed, ["VARCHAR", "VARCHAR"], "BOOLEAN")
            self._database.execute(f"SET GLOBAL quack_authorization_function = '{GUARD}'")
            self.port = free_port()
            self.server = f"quack:localhost:{self.port}"
            self._database.execute(f"CALL quack_serve('{self.server}', token = '{token}')")
            self._database.execute("SET GLOBAL enable_external_access = false")
            self._database.execute("SET GLOBAL lock_configuration = true")
        except duckdb.Error as error:
            self._database.close()
            raise ShareError(f"The store cannot be shared: {str(error).splitlines()[0]}") from error
        except ShareError:
            self._database.close()
            raise

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor of the server's own database."""
        return self._database.cursor()

    def close(self) -> None:
        """Stop the server and forget everything.  Raises ShareError where it does not stop."""
        try:
            self._database.execute("CALL quack_stop(?)", [self.server])
        except duckdb.Error as error:
            raise ShareError(f"Sharing did not stop: {error}") from error
        finally:
            self._database.close()
            if self._spill is not None:
                shutil.rmtree(self._spill, ignore_errors=True)

    def question(self, session: str, sql: str) -> QuackQuestion | None:
        """A question of a session that the server knows; None for what it is to refuse itself."""
        with self.cursor() as cursor:
            known = cursor.execute(
                "SELECT count(*) FROM quack_active_connections() WHERE connection_id = ?", [session]
            ).fetchone()
        if known == (0,):
            return None
        self.allow(session, "", "")
        return QuackQuestion(self, session, Query(self._store, sql))

    def heard(self, session: str) -> None:
        """A session has sent something."""
        with self._guard:
            if session in self._sessions:
                self._sessions[session].heard = time.monotonic()

    def end(self, session: str) -> None:
        """Forget what a session was answered."""
        with self._guard:
            gone = self._sessions.pop(session, None)
        if gone is not None:
            self._drop(gone.table)

    def silent(self) -> list[str]:
        """Sessions that have sent nothing for SILENT_SECONDS."""
        until = time.monotonic() - SILENT_SECONDS
        with self._guard:
            return [name for name, session in self._sessions.items() if session.heard < until]

    def allow(self, session: str, table: str, asked: str) -> None:
        """From now on the session may ask this text alone; the table of its last answer goes."""
        with self._guard:
            before = self._sessions.get(session)
            self._sessions[session] = _Session(time.monotonic(), table, asked)
        if before is not None:
            self._drop(before.table)

    def _drop(self, table: str) -> None:
        if table:
            with suppress(duckdb.Error), self.cursor() as cursor:
                cursor.execute(f"DROP TABLE IF EXISTS {table}")

    def _allowed(self, session: str, sql: str) -> bool:
        """Called by the server before every statement; an error here refuses too."""
        with self._guard:
            return session in self._sessions and sql == self._sessions[session].asked


class QuackQuestion:
    """One question being answered.  `cancel` from any thread."""

    def __init__(self, answers: QuackAnswers, session: str, query: Query) -> None:
        self._answers, self._session, self._query = answers, session, query

    def answer(self) -> str | None:
        """What the server is to be asked in its place; None for what it is to refuse itself.

        Raises QueryCancelledError.
        """
        table = f"answer_{secrets.token_hex(16)}"
        try:
            self._only_select()
            text = self._kept(table)
        except RefusedError:
            return None
        except (StoreError, duckdb.Error) as error:
            if self._query.cancelled:
                raise
            table, text = "", "SELECT error('" + first_lines(error).replace("'", "''") + "')"
        self._answers.allow(self._session, table, text)
        if self._query.cancelled:
            self._answers.end(self._session)
        return text

    def cancel(self) -> None:
        """End it; what it has made is dropped with the session."""
        self._query.cancel()

    def _only_select(self) -> None:
        """EXPLAIN ANALYZE runs what it explains, and a table cannot hold what a PRAGMA gives."""
        with locked_parser() as parser:
            statements = parse(parser, self._query.sql)
        if any(each.type != duckdb.StatementType.SELECT for each in statements):
            raise RefusedError("Only SELECT can be asked.")

    def _kept(self, table: str) -> str:
        """Put the rows into a table of the server's database; the SELECT that gives them."""
        import pyarrow

        failed: list[BaseException] = []
        with (
            self._query.stream(unlocked=False, exact=True) as batches,
            self._answers.cursor() as cursor,
        ):
            # Two columns may have one name, which DuckDB does not take from Arrow.
            fields = [field.with_name(f"c{place}") for place, field in enumerate(batches.schema)]
            schema = pyarrow.schema(fields)

            def renamed() -> Iterator[pyarrow.RecordBatch]:
                try:
                    for batch in batches:
                        yield pyarrow.RecordBatch.from_arrays(batch.columns, schema=schema)
                except BaseException as error:
                    failed.append(error)
                    raise

            cursor.register("came", pyarrow.RecordBatchReader.from_batches(schema, renamed()))
            columns = ", ".join(as_told(place, *each) for place, each in enumerate(batches.columns, 1))
            try:
                cursor.execute(f"CREATE TABLE {table} AS SELECT {columns} FROM came")
            except duckdb.Error:
                if failed:
                    raise failed[0] from None
                raise
        return f"FROM {table}"


def free_port() -> int:
    """A port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
