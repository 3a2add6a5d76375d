"""Responses of an endpoint's model: words without tokens, K a prompt, the same again after a stop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.endpoints import client as client_module
from engine.errors import EndpointError, UsageError
from engine.jobs import generate_text
from engine.protocol.building import build
from engine.protocol.configs import GenerateConfig
from engine.protocol.events import Finished, Message
from engine.protocol.rundir import RunDir
from engine.seeds import seed_of
from tests.engine.chat_serving import ChatFake, completion, error, ok
from tests.engine.jobs.runs import outputs, until_output
from tests.engine.training.runs import chat, make_run

PROMPTS = [{"prompt_id": f"p{n}", "messages": chat("word " * n)} for n in range(1, 5)]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatFake]:
    monkeypatch.setattr(client_module, "FIRST_WAIT", 0.001)
    server = ChatFake()
    server.answer = lambda asked: ok(said(asked, f"I say {asked['seed']}."))
    yield server
    server.close()


def said(asked: dict[str, Any], text: str) -> dict[str, Any]:
    made = completion(asked, {"I": 0.9})
    made["choices"][0]["message"]["content"] = text
    return made


def config_of(fake: ChatFake, **more: Any) -> GenerateConfig:
    return GenerateConfig(
        policy="gpt-x", protocol="text", endpoint=fake.endpoint, samples=2, max_new_tokens=9, seed=7, **more
    )


def run_of(path: Path, config: GenerateConfig) -> RunDir:
    return make_run(path, config, {}, {"prompts": PROMPTS})


def test_every_prompt_gets_its_responses(fake: ChatFake, tmp_path: Path) -> None:
    config = config_of(fake, stop=("\n\n",), price_out=100.0)
    run = run_of(tmp_path / "runs" / "run", config)
    events = list(generate_text.run(config, run))
    rows = outputs(run, events)
    assert [
        (row["prompt_id"], row["sample_index"]) for row in sorted(rows, key=lambda r: r["prompt_id"])
    ] == [(f"p{n}", k) for n in range(1, 5) for k in range(2)]
    seeds = {(f"p{n}", k): (seed_of(7, f"p{n}") + k) % 2**31 for n in range(1, 5) for k in range(2)}
    for row in rows:
        assert row["text"] == f"I say {seeds[row['prompt_id'], row['sample_index']]}."
        assert (row["token_ids"], row["token_logprobs"], row["finish_reason"]) == (None, None, "stop")
    asked = fake.asked[0]
    assert (asked["model"], asked["max_tokens"], asked["stop"], asked["top_p"]) == ("gpt-x", 9, ["\n\n"], 1.0)
    assert isinstance(events[-1], Finished)
    assert (events[-1].summary["responses"], events[-1].summary["cost"]) == (8, 8 * 10 * 100.0 / 1e6)


def test_a_stopped_job_goes_on_and_asks_nothing_twice(
    fake: ChatFake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate_text, "SECONDS_A_FILE", 0.0)
    config = config_of(fake, at_once=1)
    run = run_of(tmp_path / "runs" / "run", config)
    until_output(generate_text.run(config, run), 1)
    rows = outputs(run, list(generate_text.run(config, run)))
    assert len(rows) == 8
    assert len({(asked["seed"], asked["messages"][0]["content"]) for asked in fake.asked}) == 8
    assert len(fake.asked) <= 9  # one was under way when it stopped
    whole = run_of(tmp_path / "runs" / "whole", config)
    events = list(generate_text.run(config, whole))
    assert sorted(map(str, outputs(whole, events))) == sorted(map(str, rows))
    assert isinstance(events[-1], Finished)
    assert events[-1].summary["from_cache"] == 8


def test_a_prompt_that_is_refused_is_left_out_and_told(fake: ChatFake, tmp_path: Path) -> None:
    def picky(asked: dict[str, Any]) -> Any:
        long = "word word word" in asked["messages"][0]["content"]
        return error(400, "too long") if long else ok(said(asked, "x"))

    fake.answer = picky
    config = config_of(fake)
    run = run_of(tmp_path / "runs" / "run", config)
    events = list(generate_text.run(config, run))
    assert {row["prompt_id"] for row in outputs(run, events)} == {"p1", "p2"}
    told = [event.text for event in events if isinstance(event, Message) and event.level == "warning"]
    assert any("2 prompts were left out as refused by the endpoint" in text for text in told)
    fake.answer = lambda _: error(400, "never")
    with pytest.raises(UsageError, match="None of the 4 prompts"):
        list(generate_text.run(config, run_of(tmp_path / "other" / "run", config)))


def test_hostile_answers(fake: ChatFake, tmp_path: Path) -> None:
    fake.answer = lambda asked: ok(said(asked, "\x1b]52;c;eA==\x07 \u202eok\r\n\x00"))
    config = config_of(fake)
    run = run_of(tmp_path / "runs" / "run", config)
    assert {row["text"] for row in outputs(run, list(generate_text.run(config, run)))} == {"]52;c;eA== ok\n"}
    fake.answer = lambda _: ok(b"<html>")
    other = run_of(tmp_path / "other" / "run", config)
    with pytest.raises(EndpointError, match="does not answer as a chat endpoint does"):
        list(generate_text.run(config, other))


def test_the_budget_ends_it(fake: ChatFake, tmp_path: Path) -> None:
    config = config_of(fake, price_out=1e5, budget=3.5, at_once=1)  # a request costs 1
    run = run_of(tmp_path / "runs" / "run", config)
    events = list(generate_text.run(config, run))
    assert len(fake.asked) == 4
    assert len(outputs(run, events)) == 4
    assert any("beyond the budget" in event.text for event in events if isinstance(event, Message))


def test_settings_that_belong_to_tokens_are_refused() -> None:
    values = {"policy": "x", "protocol": "text", "endpoint": "http://localhost/v1"}
    config = build(GenerateConfig, values)
    assert config.inputs().policy is None
    assert not config.computes
    with pytest.raises(UsageError, match="Leave out what would be ignored: template"):
        build(GenerateConfig, values | {"template": "plain"})
    with pytest.raises(UsageError, match="Leave out what would be ignored: retries"):
        build(GenerateConfig, {"policy": "x", "retries": "3"})
    with pytest.raises(UsageError, match="The protocol text needs an endpoint"):
        build(GenerateConfig, {"policy": "x", "protocol": "text"})
    assert msgspec.structs.replace(config, samples=3).cost().endpoint
