"""Ask the process that holds a store: one SELECT a connection, over a socket in a private folder.

Address and token lie in `<database>.share` (mode 0600).  A question is one line of JSON; the answer comes in
frames, each a letter, a length (4 bytes, big-endian) and that many bytes: `H` names and types of the columns,
then `D` parts of an Arrow stream, or rows of Python values (`storage.share.plain_rows`) where they were asked
for, then `Z`; or `E`, an error, at any place.  Who closes the connection has cancelled the question
(`storage.share.answering`).
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.errors import ShareError
from storage.share.plain_rows import unpacked
from storage.sql_guard import RefusedError

FRAME = struct.Struct(">cI")
CONNECT_SECONDS = 10.0


class GoneError(ShareError):
    """Nobody shares the store, or no longer."""


def token_path_of(database: Path) -> Path:
    """Where the workbench that holds `database` writes address and token."""
    return database.with_name(database.name + ".share")


def shared_by(database: Path) -> dict[str, str]:
    """What the holder has written: `address`, `token`, `socket`.  Raises GoneError where nobody shares."""
    try:
        shared = json.loads(token_path_of(database).read_text(encoding="utf-8"))
        return {name: str(shared[name]) for name in ("address", "token", "socket")}
    except (OSError, ValueError, KeyError, TypeError):
        raise GoneError(f"No workbench shares {database}; open it there first.") from None


class RemoteAnswer:
    """What is answered to one question, a file of Arrow's stream format to read from.

    `close` from any thread cancels the question.
    """

    def __init__(self, database: Path, **question: Any) -> None:
        """Ask, without waiting for the answer: `ask` is one SELECT, `rows` whether Python values are wanted.

        Or `do` one of `storage.share.deeds`, `with` a text.  Raises GoneError where nobody is there to ask.
        """
        shared = shared_by(database)
        self.closed = False
        self.failed: ShareError | RefusedError | None = None
        """What ended the answer before its end."""
        self._database = database
        self._part = memoryview(b"")
        self._ended = False
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.settimeout(CONNECT_SECONDS)
            self._connection.connect(shared["socket"])
            self._connection.settimeout(None)
            asked = json.dumps({"token": shared["token"], **question})
            self._connection.sendall(asked.encode() + b"\n")
            self._file = self._connection.makefile("rb")
        except OSError:
            self._connection.close()
            raise GoneError(f"The workbench that shared {database} does not answer; open it again.") from None

    def columns(self) -> list[tuple[str, str]]:
        """(name, DuckDB's type) of each column, first to be read.  Raises OSError, as `read` does."""
        return [(str(name), str(kind)) for name, kind in json.loads(self._frame())]

    def rows(self) -> Iterator[list[tuple[Any, ...]]]:
        """Rows of Python values, some at a time.  Raises OSError where the answer was cut."""
        while part := self._frame():
            yield unpacked(part)

    def done(self) -> Any:
        """What a deed has given.  Raises ShareError, or RefusedError, with what is wrong."""
        try:
            return json.loads(self._frame())
        except OSError as error:
            raise self.failed or GoneError(str(error)) from error
        finally:
            self.close()

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes of the Arrow stream, fewer at its end.  Raises OSError where it was cut."""
        parts: list[bytes] = []
        while size:
            if not self._part:
                if self._ended:
                    break
                self._part = memoryview(self._frame())
                continue
            taken = self._part if size < 0 else self._part[:size]
            self._part = self._part[len(taken) :]
            parts.append(bytes(taken))
            size -= len(taken) if size > 0 else 0
        return b"".join(parts)

    def _frame(self) -> bytes:
        """The next frame's bytes; empty at the end."""
        try:
            kind, length = FRAME.unpack(self._read(FRAME.size))
            body = self._read(length)
        except (OSError, ValueError):  # it is closed, here or there
            self.failed = GoneError(f"The workbench that shared {self._database} has gone.")
            self._let_go()
            raise OSError(str(self.failed)) from None
        if kind == b"E":
            told = json.loads(body)
            self.failed = (RefusedError if told["refused"] else ShareError)(str(told["says"]))
            self._let_go()
            raise OSError(str(self.failed))
        self._ended = kind == b"Z"
        if self._ended:
            self._let_go()
        return body

    def _read(self, length: int) -> bytes:
        found = self._file.read(length)
        if len(found) < length:
            raise OSError("cut")
        return found

    def readable(self) -> bool:
        """Arrow asks."""
        return True

    def close(self) -> None:
        """Let the question go; the holder stops computing it."""
        self.closed = True
        self._let_go()

    def _let_go(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # which ends a read of another thread
        self._file.close()
        self._connection.close()


def stream(answer: RemoteAnswer) -> Any:
    """The answer as a `pyarrow.RecordBatchReader`."""
    import pyarrow

    return pyarrow.ipc.open_stream(pyarrow.PythonFile(answer, mode="r"))
