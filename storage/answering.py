"""Answer the questions of other processes of this user (`storage.asking` says how they come).

Each is one text of locked SQL on a cursor of its own, and ends with its asker: whoever closes the connection,
or is killed, has cancelled it.
"""

from __future__ import annotations

import hmac
import io
import json
import os
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import duckdb

from storage.asking import FRAME
from storage.console import Query, QueryCancelledError
from storage.errors import StoreError
from storage.sql_guard import RefusedError, first_lines
from storage.store import Store

ASKING_SECONDS = 10.0  # for a question to arrive
CANCEL_SECONDS = 0.05
QUESTION_BYTES = 2**20
CONNECTIONS = 64
BATCH_ROWS = 20_000
LONGEST_PATH = 90  # of a socket; systems take 104 or 108 bytes


class Answering:
    """Listens on a socket in `folder`; `path` is where.  `close` ends every question that runs."""

    def __init__(self, store: Store, token: str, folder: Path) -> None:
        self.path = folder / "ask"
        self._store, self._token = store, token
        self._room = threading.BoundedSemaphore(CONNECTIONS)
        self._guard = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._closing = False
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self.path.chmod(0o600)
        self._listening.listen(128)
        self._thread = threading.Thread(target=self._listen, name="share-answering", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening, cancel what runs, and wait until it has ended."""
        self._closing = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._guard:
            threads = list(self._open.items())
        for connection, _ in threads:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in (self._thread, *(thread for _, thread in threads)):
            thread.join(timeout=10)
        self.path.unlink(missing_ok=True)

    def _listen(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._room.acquire()
            thread = threading.Thread(
                target=self._serve, args=(connection,), name="share-question", daemon=True
            )
            with self._guard:
                self._open[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError):  # the other side has gone
                self._answer(connection)
        finally:
            with self._guard:
                del self._open[connection]
            connection.close()
            self._room.release()

    def _answer(self, connection: socket.socket) -> None:
        """Read one question, answer it."""
        connection.settimeout(ASKING_SECONDS)
        with connection.makefile("rb") as file:
            line = file.readline(QUESTION_BYTES)
        connection.settimeout(None)
        answered = threading.Event()
        writing = io.BufferedWriter(connection.makefile("wb", buffering=0), 2**16)
        try:
            question = self._question(line)
            query = Query(self._store, question)
            threading.Thread(target=_watch, args=(connection, query, answered), daemon=True).start()
            _send_rows(writing, query)
        except OSError as error:
            if error.errno is not None:
                raise
            _send_error(writing, error)
        except (StoreError, duckdb.Error) as error:
            _send_error(writing, error)
        finally:
            answered.set()
            with suppress(OSError):
                writing.close()
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # which ends the watch

    def _question(self, line: bytes) -> str:
        """The SQL of a line; RefusedError for what is no question of this user."""
        try:
            asked = json.loads(line)
            token, sql = asked["token"], asked["ask"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise RefusedError("This is no question that is understood here.") from None
        if not isinstance(token, str) or not hmac.compare_digest(token.encode(), self._token.encode()):
            raise RefusedError("The token is not that of this store.")
        if not isinstance(sql, str):
            raise RefusedError("This is no question that is understood here.")
        return sql


def _watch(connection: socket.socket, query: Query, answered: threading.Event) -> None:
    """Cancel the query once the asker has gone; nothing more is asked on a connection.

    Again and again, since DuckDB forgets an interruption that comes between two statements.
    """
    with suppress(OSError):
        connection.recv(1)
    while not answered.is_set():
        query.cancel()
        answered.wait(CANCEL_SECONDS)


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


def private_folder() -> Path:
    """A new folder for this user's sockets alone, with a name short enough for them."""
    folder = Path(tempfile.mkdtemp(prefix="workbench-share-"))
    if len(os.fsencode(folder)) > LONGEST_PATH:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="workbench-share-", dir="/tmp"))
    return folder
