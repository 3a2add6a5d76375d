"""One endpoint: requests that wait their turn and are repeated when it is busy, answers of limited size.

The key comes from an environment variable; it goes into the header of a request and nowhere else.  Redirects
are not followed, so that no other host gets it.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import urllib3
from urllib3.exceptions import HTTPError, SSLError

from engine.errors import EndpointError
from engine.protocol.configs import EndpointConfig

ANSWER_BYTES = 8 << 20
"""The longest answer that is read."""
BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same request may succeed."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before the first repetition, doubled each time, and the most; less a part by chance."""
TOLD_WAIT = 600.0
"""The longest wait that an endpoint may ask for (Retry-After) and that is kept."""
CHUNK = 1 << 16
TOLD = 200


REFUSALS = 20
"""So many requests refused, and none taken, mean that the endpoint takes none at all."""


class StoppedAskingError(Exception):
    """The job has ended; nobody waits for the answer any more."""


class RequestRefusedError(EndpointError):
    """The endpoint does not take this one request; others it may."""

    def __init__(self, status: int, said: str, endpoint: str) -> None:
        super().__init__(f"{endpoint} answered {status}: {said}")
        self.status, self.said = status, said


@dataclass
class Refusals:
    """Counts what an endpoint takes and refuses."""

    taken: int = 0
    refused: int = 0

    def count(self, refusal: RequestRefusedError | None) -> None:
        """Raises the refusal where nothing but refusals has come."""
        if refusal is None:
            self.taken += 1
            return
        self.refused += 1
        if not self.taken and self.refused >= REFUSALS:
            raise refusal


@dataclass(frozen=True)
class Received:
    """An answer, and how long it took."""

    content: bytes
    seconds: float


class RequestPace:
    """No more than so many requests a minute, evenly spaced; shared by threads."""

    def __init__(self, a_minute: float, stopped: threading.Event) -> None:
        self._gap = 60.0 / a_minute if a_minute else 0.0
        self._next, self._lock, self._stopped = 0.0, threading.Lock(), stopped

    def wait(self) -> None:
        """Return when it is this request's turn.  Raises StoppedAskingError."""
        if not self._gap:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._gap
        if self._stopped.wait(max(0.0, turn - now)):
            raise StoppedAskingError

    def hold(self, seconds: float) -> None:
        """Send nothing for so long: the endpoint has asked for it."""
        if self._gap:
            with self._lock:
                self._next = max(self._next, time.monotonic() + seconds)


class EndpointClient:
    """An endpoint as a configuration says it is to be asked.  Thread-safe."""

    def __init__(self, endpoint: str, config: EndpointConfig, *, on_wait: Callable[[str], None]) -> None:
        """`on_wait` hears in a sentence why a request is repeated, from any thread."""
        self.endpoint = endpoint.rstrip("/")
        self.stopped = threading.Event()
        self._config, self._on_wait = config, on_wait
        self._pace = RequestPace(config.requests_a_minute, self.stopped)
        self._pool = urllib3.PoolManager(maxsize=config.at_once, block=False, retries=False)
        key = os.environ.get(config.key_variable, "").strip()
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            if not key.isprintable() or not key.isascii():
                raise EndpointError(f"The key in {config.key_variable} holds characters that no key has.")
            self._headers["Authorization"] = f"Bearer {key}"

    def post(self, path: str, body: Mapping[str, Any]) -> Received:
        """The answer to a request, repeated while the endpoint is busy.

        Raises RequestRefusedError for a request that it does not take, EndpointError when it cannot be asked,
        StoppedAskingError.
        """
        data = msgspec.json.encode(body)
        for attempt in range(self._config.retries + 1):
            last = attempt == self._config.retries
            self._pace.wait()
            if self.stopped.is_set():
                raise StoppedAskingError
            started = time.monotonic()
            try:
                status, content, asked_for = self._once(path, data)
            except SSLError as error:
                raise EndpointError(
                    f"{self.endpoint} has no certificate to trust: {plainly(str(error))}."
                ) from error
            except (HTTPError, OSError) as error:
                why, asked_for = f"No answer from {self.endpoint}: {_reason(error)}", None
                if last:
                    raise EndpointError(f"{why}. Start the server, or correct the endpoint.") from error
            else:
                if status == 200:
                    return Received(content, time.monotonic() - started)
                self._refuse(status, content)
                why = f"{self.endpoint} answered {status}: {error_words(content)}"
                if last:
                    raise EndpointError(f"{why}. Resume the run when it can answer again.")
            self._rest(attempt, asked_for, why)
        raise AssertionError("the last attempt returns or raises")

    def stop(self) -> None:
        """Let every thread that waits end, and ask nothing more."""
        self.stopped.set()

    def close(self) -> None:
        """`stop`, and let the connections go."""
        self.stop()
        self._pool.clear()

    def _once(self, path: str, data: bytes) -> tuple[int, bytes, float | None]:
        """Status, content, and the seconds that the endpoint asks to wait."""
        limit = self._config.answer_seconds
        deadline = time.monotonic() + limit
        response = self._pool.request(
            "POST",
            self.endpoint + path,
            body=data,
            headers=self._headers,
            timeout=urllib3.Timeout(connect=min(limit, 30.0), read=limit),
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )
        whole = False
        try:
            parts, size = [], 0
            while chunk := response.read(CHUNK):
                size += len(chunk)
                parts.append(chunk)
                if size > ANSWER_BYTES:
                    raise EndpointError(
                        f"{self.endpoint} answered with more than {ANSWER_BYTES >> 20} MB; that is no answer "
                        "to what was asked."
                    )
                if time.monotonic() > deadline:
                    raise urllib3.exceptions.ReadTimeoutError(self._pool, path, "the answer took too long")  # type: ignore[arg-type]
            whole = True
        finally:
            if whole:
                response.release_conn()
            else:
                response.close()
        return response.status, b"".join(parts), _seconds(response.headers.get("Retry-After"))

    def _refuse(self, status: int, content: bytes) -> None:
        """Raise for a status after which repeating is no use."""
        if status in BUSY:
            return
        said = error_words(content)
        if status in (401, 403):
            raise EndpointError(
                f"{self.endpoint} answered {status}: {said}. Put a valid key into the environment variable "
                f"{self._config.key_variable}."
            )
        if status in (404, 405) or 300 <= status < 400:
            raise EndpointError(
                f"{self.endpoint} answered {status}: {said}. Correct the address, which mostly "
                "ends with /v1, or the model's name."
            )
        if status == 402:
            raise EndpointError(f"{self.endpoint} answered 402: {said}. Its account needs money.")
        raise RequestRefusedError(status, said, self.endpoint)

    def _rest(self, attempt: int, asked_for: float | None, why: str) -> None:
        """Wait before the request is repeated: as long as was asked for, else longer each time."""
        usual = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.5, 1.0)
        if asked_for is not None and asked_for > TOLD_WAIT:
            raise EndpointError(
                f"{why}; it asks to wait for {asked_for / 60:.0f} minutes. Resume the run after that."
            )
        seconds = usual if asked_for is None else max(asked_for, 0.0)
        self._pace.hold(seconds)
        self._on_wait(f"{why}; asking again in {seconds:.0f} s.")
        if self.stopped.wait(seconds):
            raise StoppedAskingError


def _seconds(header: str | None) -> float | None:
    """Seconds of a Retry-After header; None where it has none, or is a date."""
    try:
        found = float(header or "")
    except ValueError:
        return None
    return found if 0 <= found < 1e9 else None


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
        found = msgspec.json.decode(content)
        inner = found["error"] if "error" in found else found["message"]
        text = str(inner["message"] if isinstance(inner, dict) else inner)
    except (msgspec.DecodeError, KeyError, TypeError, RecursionError):
        pass
    return plainly(text).rstrip(".") or "nothing more"


def plainly(text: str) -> str:
    """One line without control characters, not too long."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(text[: 20 * TOLD].split())).strip()
    return line if len(line) <= TOLD else line[: TOLD - 1] + "…"
