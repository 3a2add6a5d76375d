"""Answer the questions of other processes of this user (`storage.share.asking` says how they come).

Each is one text of locked SQL on a cursor of its own, and ends with its asker: whoever closes the connection,
or is killed, has cancelled it.  The changes of `storage.share.deeds` can be asked for too.
"""

from __future__ import annotations

import hmac
import io
import json
import selectors
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import duckdb

from storage.console import Query, QueryCancelledError
from storage.errors import StoreError
from storage.share.asking import FRAME
from storage.share.deeds import DEEDS
from storage.share.plain_rows import packed
from storage.sql_guard import RefusedError, first_lines
from storage.store import Store

ASKING_SECONDS = 10.0  # for a question to arrive
QUESTION_BYTES = 2**20
CONNECTIONS = 64
READY = 2  # threads that wait for a question
PAUSE = 0.05
BATCH_ROWS = 20_000
PLAIN_ROWS = 2_000
"""Rows of Python values at once; the other threads of this process wait while they are made."""
NO_QUESTION = "This is no question that is understood here."


class Answering:
    """Listens on a socket in `folder`; `path` is where.  `close` ends every question that runs.

    Threads that wait for questions stand ready, and one watches all askers: starting a thread takes
    milliseconds on a busy machine.
    """

    def __init__(self, store: Store, token: str, folder: Path) -> None:
        self.path = folder / "ask"
        self._store, self._token = store, token
        self._guard = threading.Lock()
        self._waiting, self._threads = 0, set[threading.Thread]()
        self._open: set[socket.socket] = set()
        self._closing = False
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self.path.chmod(0o600)
        self._listening.listen(128)
        self._watch = Watch()
        self._be_ready()

    @property
    def running(self) -> int:
        """How many questions are being answered."""
        with self._guard:
            return len(self._open)

    def close(self) -> None:
        """Stop listening, cancel what runs, and wait until it has ended."""
        self._closing = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # which ends every wait for a question
        self._listening.close()
        with self._guard:
            connections, threads = list(self._open), list(self._threads)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._watch.cancel_all()
        for thread in threads:
            thread.join(timeout=10)
        self._watch.close()
        self.path.unlink(missing_ok=True)

    def _be_ready(self) -> None:
        """See that READY threads wait for questions, within CONNECTIONS."""
        with self._guard:
            wanted = min(READY - self._waiting, CONNECTIONS - len(self._threads))
            new = [
                threading.Thread(target=self._wait, name="share-answering", daemon=True)
                for _ in range(0 if self._closing else wanted)
            ]
            self._waiting += len(new)
            self._threads.update(new)
        for thread in new:
            thread.start()

    def _wait(self) -> None:
        """Take questions, one after another, while not too many others wait for them."""
        try:
            while not self._closing:
                try:
                    connection, _ = self._listening.accept()
                except OSError:  # it is closed, or this process has too many files open
                    time.sleep(PAUSE)
                    continue
                with self._guard:
                    self._waiting -= 1
                    self._open.add(connection)
                    alone = not self._waiting
                if alone:
                    self._be_ready()
                if self._closing:  # `close` may not have seen it
                    connection.close()
                else:
                    self._serve(connection)
                with self._guard:
                    self._open.discard(connection)
                    self._waiting += 1
                    if self._waiting > READY:
                        return
        finally:
            with self._guard:
                self._waiting -= 1
                self._threads.discard(threading.current_thread())

    def _serve(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError):  # the other side has gone
                self._answer(connection)
        finally:
            connection.close()

    def _answer(self, connection: socket.socket) -> None:
        """Read one question, answer it."""
        connection.settimeout(ASKING_SECONDS)
        with connection.makefile("rb") as file:
            line = file.readline(QUESTION_BYTES)
        connection.settimeout(None)
        writing = io.BufferedWriter(connection.makefile("wb", buffering=0), 2**16)
        try:
            asked = self._question(line)
            if asked.get("do") is not None:
                _send(writing, b"H", json.dumps(self._done(asked)).encode())
                _send(writing, b"Z", b"")
                return
            query = Query(self._store, _text(asked, "ask"))
            with self._watch.over(connection, query):
                (_send_plain_rows if asked.get("rows") is True else _send_rows)(writing, query)
        except OSError as error:
            if error.errno is not None:
                raise
            _send_error(writing, error)
        except (StoreError, duckdb.Error) as error:
            _send_error(writing, error)
        finally:
            with suppress(OSError):
                writing.close()

    def _question(self, line: bytes) -> dict[str, Any]:
        """What a line says; RefusedError for what is no question of this user."""
        try:
            asked = json.loads(line)
            token = _text(asked, "token")
        except (ValueError, RecursionError):
            raise RefusedError(NO_QUESTION) from None
        if not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token.encode()):
            raise RefusedError("The token is not that of this store.")
        return asked

    def _done(self, asked: Mapping[str, Any]) -> Any:
        """Do one of DEEDS; what it gives, on disk when it is told."""
        deed = DEEDS.get(_text(asked, "do"))
        if deed is None:
            raise RefusedError("That is nothing that another process may ask to be done.")
        return deed(self._store, _text(asked, "with"))


def _text(asked: Any, name: str) -> str:
    value = asked.get(name) if isinstance(asked, dict) else None
    if not isinstance(value, str):
        raise RefusedError(NO_QUESTION)
    return value


class Watch:
    """Cancels the query of each asker who goes; nothing more is asked on a connection."""

    def __init__(self) -> None:
        self._askers = selectors.DefaultSelector()
        self._guard = threading.Lock()
        """One at a time: a connection that has ended gives its number to the next one, and what is done to
        the old one in the middle of that is done to the new one."""
        self._queries: set[Query] = set()
        self._end, ended = socket.socketpair()
        self._askers.register(ended, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._look, name="share-watch", daemon=True)
        self._thread.start()

    @contextmanager
    def over(self, connection: socket.socket, query: Query) -> Iterator[None]:
        """Watch one asker while the block runs."""
        with self._guard:
            self._askers.register(connection, selectors.EVENT_READ, query)
            self._queries.add(query)
        try:
            yield
        finally:
            with self._guard, suppress(KeyError, ValueError):
                self._queries.discard(query)
                self._askers.unregister(connection)

    def cancel_all(self) -> None:
        """Cancel every query, whoever waits for it."""
        with self._guard:
            queries = list(self._queries)
        for query in queries:
            query.cancel()

    def close(self) -> None:
        self._end.close()
        self._thread.join(timeout=10)

    def _look(self) -> None:
        while True:
            for key, _ in self._askers.select():
                if key.data is None:
                    key.fileobj.close()  # type: ignore[union-attr]
                    self._askers.close()
                    return
                with self._guard:
                    gone = key.data in self._queries and _has_gone(key.fileobj)  # type: ignore[arg-type]
                    if gone:
                        self._askers.unregister(key.fileobj)
                if gone:
                    key.data.cancel()


def _has_gone(connection: socket.socket) -> bool:
    """Whether there is something to read, which after the question can only be the end."""
    try:
        connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:  # broken off
        return True
    return True


def _send_plain_rows(writing: BinaryIO, query: Query) -> None:
    """Columns, rows of Python values and the end; a small answer goes at once."""
    with query.rows(PLAIN_ROWS) as (columns, parts):
        _send(writing, b"H", json.dumps(columns).encode())
        kinds = [kind for _, kind in columns]
        for rows in parts:
            _send(writing, b"D", packed(rows, kinds))
            if len(rows) == PLAIN_ROWS:
                writing.flush()
        _send(writing, b"Z", b"")


def _send_rows(writing: BinaryIO, query: Query) -> None:
    """Columns, rows and the end."""
    import pyarrow

    with query.stream(unlocked=False, batch_rows=BATCH_ROWS, exact=True) as batches:
        _send(writing, b"H", json.dumps(batches.columns).encode())
        # Two columns may have one name, which Arrow's readers do not take.
        fields = [field.with_name(f"c{place}") for place, field in enumerate(batches.schema)]
        schema, part = pyarrow.schema(fields), io.BytesIO()
        with pyarrow.ipc.new_stream(part, schema) as stream:
            for batch in batches:
                stream.write_batch(pyarrow.RecordBatch.from_arrays(batch.columns, schema=schema))
                _send(writing, b"D", part.getvalue())
                part.seek(0)
                part.truncate()
                writing.flush()
        _send(writing, b"D", part.getvalue())
        _send(writing, b"Z", b"")


def _send_error(writing: BinaryIO, error: Exception) -> None:
    if isinstance(error, QueryCancelledError):
        return  # nobody waits for it
    told = {"says": first_lines(error), "refused": isinstance(error, RefusedError)}
    with suppress(OSError):
        _send(writing, b"E", json.dumps(told).encode())


def _send(writing: BinaryIO, kind: bytes, body: bytes) -> None:
    writing.write(FRAME.pack(kind, len(body)))
    writing.write(body)
