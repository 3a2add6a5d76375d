"""One endpoint that many ask: requests wait their turn and are repeated when it is busy."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.endpoints.http import HttpClient, NoAnswerError, error_words
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
REFUSALS = 20
"""So many requests refused, and none taken, mean that the endpoint takes none at all."""


class StoppedAskingError(Exception):
    """The job has ended; nobody waits for the answer any more."""


class RequestRefusedError(EndpointError):
    """The endpoint does not take this one request; others it may."""

    def __init__(self, status: int, said: str, endpoint: str) -> None:
        super().__init__(f"{endpoint} answered {status}: {said}")
        self.status, self.said = status, said


class GivenUpError(EndpointError):
    """A request was repeated as often as it may be, and not answered; others may be."""


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
        self._http = HttpClient(
            self.endpoint,
            config.key_variable,
            within=config.answer_seconds,
            most=ANSWER_BYTES,
            at_once=config.at_once,
        )

    def post(self, path: str, body: Mapping[str, Any]) -> Received:
        """The answer to a request, repeated while the endpoint is busy.

        Raises RequestRefusedError for a request that it does not take, EndpointError when it cannot be asked,
        StoppedAskingError.
        """
        for attempt in range(self._config.retries + 1):
            last = attempt == self._config.retries
            self._pace.wait()
            if self.stopped.is_set():
                raise StoppedAskingError
            started = time.monotonic()
            try:
                answer = self._http.request(path, body)
            except NoAnswerError as error:
                if self.stopped.is_set():
                    raise StoppedAskingError from error
                why, asked_for = str(error), None
                if last:
                    raise GivenUpError(f"{why}. Start the server, or correct the endpoint.") from error
            else:
                if answer.status == 200:
                    return Received(answer.content, time.monotonic() - started)
                self._refuse(answer.status, answer.content)
                why = f"{self.endpoint} answered {answer.status}: {error_words(answer.content)}"
                asked_for = answer.wait
                if last:
                    raise GivenUpError(f"{why}. Resume the run when it can answer again.")
            self._rest(attempt, asked_for, why)
        raise AssertionError("the last attempt returns or raises")

    def stop(self) -> None:
        """Let every thread that waits end, and ask nothing more."""
        self.stopped.set()
        self._http.give_up()

    def close(self) -> None:
        """`stop`, and let the connections go."""
        self.stop()
        self._http.close()

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
            raise EndpointError(f"{self.endpoint} answered 402: {said}. Top up its account.")
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
