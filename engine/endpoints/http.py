"""Requests over HTTP to one address: answers of limited size and time, given up from any thread.

The key comes from an environment variable; it goes into the header of a request and nowhere else.  Redirects
are not followed, so that no other host gets it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, ReadTimeoutError, SSLError

from engine.errors import EndpointError

CONNECT_WITHIN = 30.0  # seconds
CHUNK = 1 << 16
TOLD = 200  # characters of what a server says that are passed on


class NoAnswerError(EndpointError):
    """Nothing came, or not the whole of it: nobody listens, the connection broke, the time is over."""


class LongAnswerError(EndpointError):
    """The answer is longer than any answer to what was asked."""


@dataclass(frozen=True)
class HttpAnswer:
    """What came back, whatever the status."""

    status: int
    content: bytes
    wait: float | None = None
    """Seconds that the server asks to wait before the next request (Retry-After)."""


class HttpClient:
    """One address, as http://localhost:8000/v1.  Thread-safe; connections are kept for the next request."""

    def __init__(
        self,
        endpoint: str,
        key_variable: str,
        *,
        within: float,
        most: int,
        at_once: int = 1,
        key_header: str = "",
    ) -> None:
        """within: seconds that a whole answer may take.  most: its bytes.  at_once: connections kept.

        key_header: where the key goes as it is; empty is a bearer's Authorization.
        Raises EndpointError when the environment variable holds what is no key.
        """
        self.endpoint = endpoint.rstrip("/")
        self._within, self._most = within, most
        self._base = urlsplit(self.endpoint).path
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key := os.environ.get(key_variable, "").strip():
            if not key.isprintable() or not key.isascii():
                raise EndpointError(f"The key in {key_variable} holds characters that no key has.")
            self._headers |= {key_header: key} if key_header else {"Authorization": f"Bearer {key}"}
        self._open: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()
        self._lock, self._given_up = threading.Lock(), False
        self._pool = urllib3.connection_from_url(self.endpoint, maxsize=at_once, block=False, retries=False)
        self._pool.ConnectionCls = self._connection(self._pool.ConnectionCls)

    def request(self, path: str, body: Mapping[str, Any] | None = None) -> HttpAnswer:
        """The answer to a POST of this body, or to a GET without one.

        Raises NoAnswerError with what went wrong; LongAnswerError; EndpointError for a host that cannot be
        trusted.
        """
        try:
            return self._asked(path, body)
        except SSLError as error:
            raise EndpointError(
                f"{self.endpoint} has no certificate to trust: {plainly(str(error))}."
            ) from error
        except (HTTPError, OSError) as error:
            raise NoAnswerError(f"No answer from {self.endpoint}: {_reason(error)}") from error

    def give_up(self) -> None:
        """End every request that waits, with NoAnswerError in its thread, and answer no other."""
        with self._lock:
            self._given_up = True
            for connection in self._open:
                if connection.sock is not None:
                    with suppress(OSError):  # it may have ended by itself
                        connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """`give_up`, and let the connections go."""
        self.give_up()
        self._pool.close()

    def _connection(self, made_by: Any) -> Any:
        """What makes the pool's connections: as before, but they are known here and open only while asked."""

        def make(*arguments: Any, **named: Any) -> HTTPConnection:
            connection: HTTPConnection = made_by(*arguments, **named)
            connect = connection.connect

            def connect_if_wanted() -> None:
                connect()
                if self._given_up:  # meanwhile; `give_up` has seen no socket yet
                    connection.close()
                    raise NoAnswerError(f"{self.endpoint} is not asked any more")

            connection.connect = connect_if_wanted  # type: ignore[method-assign]
            with self._lock:
                self._open.add(connection)
            return connection

        return make

    def _asked(self, path: str, body: Mapping[str, Any] | None) -> HttpAnswer:
        if self._given_up:
            raise NoAnswerError(f"{self.endpoint} is not asked any more")
        deadline = time.monotonic() + self._within
        response = self._pool.urlopen(
            "GET" if body is None else "POST",
            self._base + path,
            body=None if body is None else msgspec.json.encode(body),
            headers=self._headers,
            timeout=urllib3.Timeout(connect=min(self._within, CONNECT_WITHIN), read=self._within),
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )
        whole = False
        try:
            content = self._content(response, deadline)
            whole = True
        finally:
            if whole:
                response.release_conn()
            else:
                response.close()
        return HttpAnswer(response.status, content, _seconds(response.headers.get("Retry-After")))

    def _content(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        parts, size = [], 0
        while chunk := response.read(CHUNK):
            size += len(chunk)
            parts.append(chunk)
            if size > self._most:
                raise LongAnswerError(
                    f"{self.endpoint} answered with more than {self._most >> 20} MB; that is no answer to "
                    "what was asked."
                )
            if time.monotonic() > deadline:
                raise ReadTimeoutError(self._pool, self._base, "the answer took too long")
        return b"".join(parts)


def _seconds(header: str | None) -> float | None:
    """Seconds of a Retry-After header; None where it has none, or is a date."""
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e9 else None


def _reason(error: BaseException) -> str:
    """What went wrong below HTTP, without the library's own words around it."""
    while error.__cause__ is not None:
        error = error.__cause__
    strerror = getattr(error, "strerror", None)
    return plainly(strerror or str(error).rpartition(": ")[2] or type(error).__name__).rstrip(".")


def error_words(content: bytes) -> str:
    """What an error says, as far as it can be read; one harmless line."""
    text = content[: 1 << 16].decode(errors="replace")
    try:
        body = msgspec.json.decode(content)
        inner = body["error"] if "error" in body else body["message"]
        text = str(inner["message"] if isinstance(inner, dict) else inner)
    except (msgspec.DecodeError, KeyError, TypeError, RecursionError):
        pass
    return plainly(text).rstrip(".") or "nothing more"


def plainly(text: str) -> str:
    """One line without control characters, not too long."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(text[: 20 * TOLD].split())).strip()
    return line if len(line) <= TOLD else line[: TOLD - 1] + "…"
