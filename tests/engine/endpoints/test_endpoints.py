"""Endpoints: repeated when busy, paced, paid for once, never trusted with more than was asked."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.endpoints import client as client_module
from engine.endpoints.asking import Asking, Reply
from engine.endpoints.cache import FILE, AnswerCache, request_key
from engine.endpoints.chat import PATH
from engine.endpoints.client import EndpointClient, RequestRefusedError
from engine.errors import EndpointError, UsageError
from engine.protocol.building import build
from engine.protocol.configs import JudgeConfig
from tests.engine.chat_serving import ChatFake, completion, error, ok

BODY: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "?"}]}


@pytest.fixture
def fake() -> Iterator[ChatFake]:
    server = ChatFake()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT", 0.001)


def client(fake: ChatFake, heard: list[str] | None = None, **settings: Any) -> EndpointClient:
    config = JudgeConfig(by="endpoint", endpoint=fake.endpoint, **settings)
    return EndpointClient(fake.endpoint, config, on_wait=(heard if heard is not None else []).append)


def answers(*sent: Any) -> Any:
    """Each of these once, then what is right."""
    waiting = list(sent)
    return lambda asked: waiting.pop(0) if waiting else ok(completion(asked, {"A": 0.9}))


def test_a_busy_endpoint_is_asked_again_after_the_time_that_it_names(fake: ChatFake) -> None:
    fake.answer = answers(error(429, "slow down", Retry_After="0.2"), error(500, "oops"), error(503, "busy"))
    heard: list[str] = []
    assert b"chat.completion" in client(fake, heard).post(PATH, BODY).content
    assert len(fake.asked) == 4
    assert fake.times[1] - fake.times[0] >= 0.2
    assert [" answered 429: slow down;" in heard[0], " 500: oops;" in heard[1]] == [True, True]


def test_it_is_not_asked_for_ever(fake: ChatFake) -> None:
    fake.answer = lambda _: error(500, "oops\x1b[31m")
    with pytest.raises(EndpointError, match=r"answered 500: oops \[31m\. Resume the run") as caught:
        client(fake, retries=2).post(PATH, BODY)
    assert len(fake.asked) == 3
    assert str(caught.value).isprintable()
    fake.answer = lambda _: error(429, "come tomorrow", Retry_After="86400")
    with pytest.raises(EndpointError, match="asks to wait for 1440 minutes"):
        client(fake).post(PATH, BODY)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (
            error(401, "bad key"),
            "401: bad key. Put a valid key into the environment variable WORKBENCH_API_KEY",
        ),
        (error(404, "no such model"), "404: no such model. Correct the address"),
        ((302, {"Location": "http://example.org/v1/chat/completions"}, b""), "302: nothing more"),
        (error(402, "no money"), "Top up its account"),
    ],
)
def test_what_repeating_does_not_mend_is_told_at_once(fake: ChatFake, sent: Any, told: str) -> None:
    fake.answer = lambda _: sent
    with pytest.raises(EndpointError) as caught:
        client(fake).post(PATH, BODY)
    assert told in str(caught.value)
    assert len(fake.asked) == 1
    assert not isinstance(caught.value, RequestRefusedError)


def test_one_request_that_is_refused_is_no_failure_of_the_endpoint(fake: ChatFake) -> None:
    fake.answer = lambda _: error(400, "context length exceeded")
    with pytest.raises(RequestRefusedError, match="400: context length exceeded"):
        client(fake).post(PATH, BODY)


def test_nobody_there_is_told_after_some_attempts(fake: ChatFake) -> None:
    gone = ChatFake()
    gone.close()
    heard: list[str] = []
    with pytest.raises(EndpointError, match=r"No answer from .*refused.*Start the server"):
        client(gone, heard, retries=1).post(PATH, BODY)
    assert len(heard) == 1


def test_a_huge_answer_is_given_up(fake: ChatFake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_BYTES", 1 << 20)
    fake.answer = lambda _: ok(b" " * (4 << 20))
    with pytest.raises(EndpointError, match="more than 1 MB"):
        client(fake).post(PATH, BODY)


def test_a_slow_answer_is_given_up(fake: ChatFake) -> None:
    release = threading.Event()

    def slow(asked: dict[str, Any]) -> Any:
        release.wait(20)
        return ok(b"{}")

    fake.answer = slow
    with pytest.raises(EndpointError, match="No answer from"):
        client(fake, retries=0, answer_seconds=0.2).post(PATH, BODY)
    release.set()


def test_requests_keep_their_pace_among_threads(fake: ChatFake, tmp_path: Path) -> None:
    paced = client(fake, requests_a_minute=600)
    with AnswerCache(tmp_path / FILE) as cache:
        replies = list(Asking(paced, cache, PATH, 4).replies(5, lambda n: BODY | {"seed": n}))
    assert sorted(reply.place for reply in replies if reply) == [0, 1, 2, 3, 4]
    times = sorted(fake.times)
    assert times[-1] - times[0] >= 0.35  # four gaps of 0.1 s, less what a thread may be late


def test_the_key_goes_into_the_header_and_nowhere_else(
    fake: ChatFake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret-of-mine")
    with AnswerCache(tmp_path / FILE) as cache:
        asking = Asking(client(fake, key_variable="MY_KEY"), cache, PATH, 1)
        (reply,) = [reply for reply in asking.replies(1, lambda _: BODY) if reply]
        asking.keep(BODY, reply.content)
    assert fake.keys == ["Bearer secret-of-mine"]
    assert b"secret-of-mine" not in (tmp_path / FILE).read_bytes()
    with pytest.raises(UsageError, match="the name of an environment variable, not the key"):
        build(JudgeConfig, {"by": "endpoint", "endpoint": fake.endpoint, "key_variable": "sk-123"})
    with pytest.raises(UsageError, match="is not an address"):
        JudgeConfig(by="endpoint", endpoint="http://me:secret@host/v1")
    monkeypatch.setenv("MY_KEY", "two\nlines")
    with pytest.raises(EndpointError, match="characters that no key has"):
        client(fake, key_variable="MY_KEY")


def test_what_was_answered_is_not_asked_again(fake: ChatFake, tmp_path: Path) -> None:
    for cached in (False, True):
        with AnswerCache(tmp_path / FILE) as cache:
            asking = Asking(client(fake), cache, PATH, 2)
            for reply in asking.replies(3, lambda n: BODY | {"seed": n}):
                if reply is not None:
                    assert reply.cached is cached
                    asking.keep(BODY | {"seed": reply.place}, reply.content)
    assert len(fake.asked) == 3
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_a_broken_cache_costs_the_cache_alone(fake: ChatFake, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    with AnswerCache(tmp_path / FILE) as cache:
        cache.put("x", b"y")
        assert cache.get("x") is None
        assert [r.content for r in Asking(client(fake), cache, PATH, 1).replies(1, lambda _: BODY) if r]
    assert request_key("http://a/v1", PATH, {"b": 1, "a": 2}) == request_key(
        "http://a/v1/", PATH, {"a": 2, "b": 1}
    )
    assert sqlite3.sqlite_version


def test_whoever_stops_does_not_wait(fake: ChatFake, tmp_path: Path) -> None:
    release = threading.Event()

    def hangs(asked: dict[str, Any]) -> Any:
        if asked["seed"]:
            release.wait(60)
        return ok(completion(asked, {"A": 0.9}))

    fake.answer = hangs
    with AnswerCache(tmp_path / FILE) as cache:
        replies = Asking(client(fake), cache, PATH, 2).replies(9, lambda n: BODY | {"seed": n})
        first = next(reply for reply in replies if reply is not None)
        assert isinstance(first, Reply)
        started = time.monotonic()
        replies.close()
        assert time.monotonic() - started < 30
    release.set()
    assert len(fake.asked) <= 4
