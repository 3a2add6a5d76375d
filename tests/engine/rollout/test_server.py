"""Sampling from a server: what is asked, what comes back, and what is said when something is amiss."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engine.errors import EndpointError, NonFiniteError, UsageError
from engine.protocol.configs import GenerateConfig
from engine.rollout import Decoded, Sampled, SampledBatch, Server, sample_steps
from engine.text import Tokeniser
from tests.engine.serving import Answer, Fake, completion

PROMPTS = [[5, 6, 7], [8, 9], [10]]


@pytest.fixture
def fake() -> Iterator[Fake]:
    server = Fake()
    yield server
    server.close()


@pytest.fixture
def tokeniser(tiny_model: Path) -> Tokeniser:
    return Tokeniser.from_folder(tiny_model)


def responses(fake: Fake, tokeniser: Tokeniser, **options: Any) -> list[Sampled]:
    server = Server.connect(fake.endpoint, ["mine"])
    settings = {"samples": 2, "max_new_tokens": 4, "stop_ids": {2, 1}, "seeds": [11, 12, 13]} | options
    said = list(sample_steps(server, tokeniser, PROMPTS, **settings))
    return [response for part in said if isinstance(part, SampledBatch) for response in part.responses]


def test_responses_come_back_as_ours_do(fake: Fake, tokeniser: Tokeniser) -> None:
    found = responses(fake, tokeniser, stop_strings=["\n"], top_p=0.9)
    assert found[:2] == [
        Sampled(0, 0, [5, 40], [-0.5, -0.5], True),
        Sampled(0, 1, [5, 41], [-1.0, -1.0], False),
    ]
    assert [(r.prompt_index, r.sample_index) for r in found] == [(p, k) for p in range(3) for k in range(2)]
    asked = next(asked for asked in fake.asked if asked["prompt"] == [8, 9])
    assert (asked["model"], asked["n"], asked["seed"], asked["max_tokens"]) == ("mine", 2, 12, 4)
    assert (asked["stop_token_ids"], asked["stop"], asked["top_p"]) == ([1, 2], ["\n"], 0.9)
    assert asked["return_token_ids"] is True
    assert (asked["top_k"], asked["min_p"], asked["repetition_penalty"]) == (0, 0.0, 1.0)
    assert fake.keys == [None] * 3


def test_as_many_prompts_as_fit_are_asked_for_at_once(fake: Fake, tokeniser: Tokeniser) -> None:
    barrier = threading.Barrier(3, timeout=20)

    def together(asked: dict[str, Any]) -> Answer:
        barrier.wait()
        return completion(asked)

    fake.answer = together
    assert len(responses(fake, tokeniser, batch_sequences=6)) == 6
    fake.answer = completion
    server = Server.connect(fake.endpoint, ["mine"])
    said = list(
        sample_steps(
            server,
            tokeniser,
            PROMPTS,
            samples=2,
            max_new_tokens=4,
            stop_ids=(),
            seeds=[0] * 3,
            batch_sequences=4,
        )
    )
    kinds = [Decoded, Decoded, SampledBatch, Decoded, SampledBatch]
    assert [type(part) for part in said] == kinds
    assert all(a.tokens <= b.tokens for a, b in pairwise(said[:3]))
    assert [len(part.responses) for part in said if isinstance(part, SampledBatch)] == [4, 2]


def test_greedy_responses_are_asked_for_once(fake: Fake, tokeniser: Tokeniser) -> None:
    found = responses(fake, tokeniser, temperature=0.0, samples=3)
    assert all(asked["n"] == 1 for asked in fake.asked)
    assert [(r.sample_index, r.token_ids) for r in found[:3]] == [(0, [5, 40]), (1, [5, 40]), (2, [5, 40])]


def test_log_probabilities_of_another_temperature_are_left_out(fake: Fake, tokeniser: Tokeniser) -> None:
    assert all(response.logprobs == [] for response in responses(fake, tokeniser, temperature=0.7))


def test_a_key_goes_with_every_request(
    fake: Fake, tokeniser: Tokeniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_API_KEY", "secret")
    responses(fake, tokeniser)
    assert fake.keys == ["Bearer secret"] * 3


def test_which_model_is_meant(fake: Fake) -> None:
    assert Server.connect(fake.endpoint, ["absent", "other"]).model == "other"
    with pytest.raises(UsageError, match="serves mine, other; none of them is called absent"):
        Server.connect(fake.endpoint, ["absent"])
    fake.models = {"data": [{"id": "a path of its own"}]}
    assert Server.connect(fake.endpoint, ["absent"]) == Server(fake.endpoint, "a path of its own", None)
    fake.models = {"data": []}
    with pytest.raises(UsageError, match="serves nothing"):
        Server.connect(fake.endpoint, ["absent"])


@pytest.mark.parametrize(
    "endpoint",
    [
        "localhost:8000",
        "file:///etc/passwd",
        "http://",
        "ftp://host/v1",
        "http://host:x/v1",
        "http://[::1/v1",
    ],
)
def test_what_is_no_address_is_refused_before_anything_runs(endpoint: str) -> None:
    with pytest.raises(UsageError, match="is not an address like http"):
        GenerateConfig(policy="mine", endpoint=endpoint)


def test_nobody_answers() -> None:
    gone = Fake()
    gone.close()
    with pytest.raises(EndpointError, match=r"No answer from .*refused.*vllm serve"):
        Server.connect(gone.endpoint, ["mine"])


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], Answer]:
    def answer(asked: dict[str, Any]) -> Answer:
        status, content = completion(asked)
        change(content["choices"][0])
        return status, content

    return answer


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (lambda _: (400, {"error": {"message": "too\x1b[31m long"}}), EndpointError, r"400: too \[31m long"),
        (lambda _: (500, b"\xff oops"), EndpointError, "500: . oops"),
        (lambda _: (503, b""), EndpointError, "503: nothing more"),
        (lambda _: (200, b"<html>"), EndpointError, "does not answer as vLLM does"),
        (lambda _: (200, {"choices": [{"index": 0, "text": "x"}]}), EndpointError, "token_ids"),
        (lambda _: (200, {"choices": []}), EndpointError, "0 responses to a prompt instead of 2"),
        (changed(lambda c: c["token_ids"].append(3)), EndpointError, "2 log-probabilities for 3 tokens"),
        (changed(lambda c: c.update(token_ids=[9, 10**6])), EndpointError, "serves another model"),
        (changed(lambda c: c["logprobs"].update(token_logprobs=[None, -1])), NonFiniteError, "not finite"),
    ],
)
def test_one_sentence_says_what_is_amiss(
    fake: Fake, tokeniser: Tokeniser, answer: Callable[[dict[str, Any]], Answer], error: Any, told: str
) -> None:
    fake.answer = answer
    with pytest.raises(error, match=told) as caught:
        responses(fake, tokeniser)
    assert str(caught.value).isprintable()


def test_an_answer_without_end_is_not_kept(
    fake: Fake, tokeniser: Tokeniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.rollout.server.LONGEST_ANSWER", 2**20)
    fake.answer = lambda _: (200, b" " * (2**20 + 1))
    with pytest.raises(EndpointError, match="answers with more than 1 MB"):
        responses(fake, tokeniser)


def test_prompts_that_are_too_long_are_told_before_anything_is_asked(
    fake: Fake, tokeniser: Tokeniser
) -> None:
    with pytest.raises(UsageError, match="3 tokens; with 62 new ones it goes beyond the 64 positions"):
        responses(fake, tokeniser, max_new_tokens=62)
    assert fake.asked == []


def test_a_job_that_stops_does_not_wait(fake: Fake, tokeniser: Tokeniser) -> None:
    """The first prompts are answered, one hangs; whoever consumes goes away."""
    release = threading.Event()

    def hangs(asked: dict[str, Any]) -> Answer:
        if asked["prompt"] == PROMPTS[2]:
            release.wait(60)
        return completion(asked)

    fake.answer = hangs
    server = Server.connect(fake.endpoint, ["mine"])
    steps = sample_steps(
        server, tokeniser, PROMPTS, samples=2, max_new_tokens=4, stop_ids=(), seeds=[0] * 3, batch_sequences=6
    )
    heartbeat = [next(steps) for _ in range(4)]
    assert all(isinstance(said, Decoded) for said in heartbeat)
    before = {thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")}
    steps.close()
    for thread in before:
        thread.join(10)
        assert not thread.is_alive()
    release.set()
