"""Many requests at once, each answered from the cache where it has been answered before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.endpoints.cache import AnswerCache, request_key
from engine.endpoints.client import (
    EndpointClient,
    GivenUpError,
    Received,
    RequestRefusedError,
    StoppedAskingError,
)

LOOK_EVERY = 0.5  # seconds between two signs of life
Body = Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """What came of one request: its content, or the error with which the endpoint refused it, or with which
    it was given up."""

    place: int
    content: bytes = b""
    seconds: float | None = None
    cached: bool = False
    refused: RequestRefusedError | None = None
    failed: GivenUpError | None = None


class Asking:
    """Requests of one job to one endpoint.

    `path` is that of every request.  Threads do the waiting and end with the process; whoever consumes the
    replies keeps the cache and decides, before each request, whether it is still wanted.  tolerant: a request
    that is given up is a reply, once the endpoint has answered any; before that, so many at once that are
    given up end the asking.
    """

    def __init__(
        self, client: EndpointClient, cache: AnswerCache, path: str, at_once: int, *, tolerant: bool = False
    ) -> None:
        self._client, self._cache, self._path, self._at_once = client, cache, path, at_once
        self._tolerant, self._answered, self._given_up = tolerant, False, 0

    def replies(
        self, count: int, body: Callable[[int], Body], wanted: Callable[[], bool] = lambda: True
    ) -> Iterator[Reply | None]:
        """Replies to requests 0 … count − 1 as they come, and None now and then while none does.

        `body(place)` makes a request when its turn comes.  While `wanted()` is false none is sent: what the
        cache does not hold has then no reply.  Raises EndpointError.
        """
        waiting: queue.SimpleQueue[tuple[int, Body] | None] = queue.SimpleQueue()
        came: queue.SimpleQueue[tuple[int, Received | Exception]] = queue.SimpleQueue()
        threads = [
            threading.Thread(target=self._work, args=(waiting, came), daemon=True, name=f"asking-{number}")
            for number in range(min(self._at_once, count))
        ]
        for thread in threads:
            thread.start()
        place, under_way = 0, 0
        try:
            while under_way or place < count:
                while place < count and under_way < self._at_once:
                    asked = body(place)
                    known = self._cache.get(request_key(self._client.endpoint, self._path, asked))
                    if known is not None:
                        yield Reply(place, known, cached=True)
                    elif wanted():
                        waiting.put((place, asked))
                        under_way += 1
                    place += 1
                if not under_way:
                    continue
                try:
                    reply = self._reply(*came.get(timeout=LOOK_EVERY))
                except queue.Empty:
                    yield None
                    continue
                under_way -= 1
                yield reply
        finally:
            if under_way:
                self._client.stop()
            for _ in threads:
                waiting.put(None)

    def close(self) -> None:
        """Ask nothing more; let the connections and the cache go."""
        self._client.close()
        self._cache.close()

    def keep(self, body: Body, content: bytes) -> None:
        """Keep an answer that could be read, so that it need not be asked for again."""
        self._cache.put(request_key(self._client.endpoint, self._path, body), content)

    def _work(
        self,
        waiting: queue.SimpleQueue[tuple[int, Body] | None],
        came: queue.SimpleQueue[tuple[int, Received | Exception]],
    ) -> None:
        while (task := waiting.get()) is not None:
            place, asked = task
            try:
                came.put((place, self._client.post(self._path, asked)))
            except StoppedAskingError:
                return
            except Exception as error:
                came.put((place, error))

    def _reply(self, place: int, result: Received | Exception) -> Reply:
        """What came of a request; raises what is no answer to this one alone."""
        if isinstance(result, RequestRefusedError):
            return Reply(place, refused=result)
        if isinstance(result, GivenUpError) and self._tolerant:
            self._given_up += 1
            if self._answered or self._given_up < self._at_once:
                return Reply(place, failed=result)
        if isinstance(result, Exception):
            raise result
        self._answered = True
        return Reply(place, result.content, result.seconds)
