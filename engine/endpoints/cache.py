"""Answers that endpoints have given, on disk: the same question is never paid for twice.

One SQLite file beside the run directories of a store.  A row is known by a hash of the address and the whole
request; the key of the endpoint is no part of either.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from engine.files import PRIVATE_FILE

FILE = "answers.sqlite"
WAIT = 30.0  # seconds for another process that writes


class AnswerCache:
    """Answers by request.  For one thread; several processes may share the file.

    A file that cannot be read or written costs the cache, never the job.
    """

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection | None = None
        with suppress(sqlite3.Error, OSError):
            path.touch(PRIVATE_FILE)
            connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
            connection.execute(
                "CREATE TABLE IF NOT EXISTS answers (request TEXT PRIMARY KEY, answer BLOB NOT NULL)"
            )
            self._connection = connection

    def get(self, request: str) -> bytes | None:
        """The answer to a request that has been answered before."""
        if self._connection is None:
            return None
        with suppress(sqlite3.Error):
            row = self._connection.execute(
                "SELECT answer FROM answers WHERE request = ?", [request]
            ).fetchone()
            return bytes(row[0]) if row is not None and isinstance(row[0], bytes) else None
        return None

    def put(self, request: str, answer: bytes) -> None:
        """Keep an answer; it is on disk when this returns."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", [request, answer])

    def close(self) -> None:
        """Close the file; what is put from now on is not kept."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def request_key(endpoint: str, path: str, body: Mapping[str, Any]) -> str:
    """What a request is known by."""
    digest = hashlib.sha256(f"{endpoint.rstrip('/')}{path}\n".encode())
    digest.update(msgspec.json.encode(body, order="deterministic"))
    return digest.hexdigest()
