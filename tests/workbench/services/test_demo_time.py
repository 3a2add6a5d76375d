"""Before the demo starts, a slow machine is told how long it takes, and offered a smaller one."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from engine.protocol import processor
from engine.protocol.processor import Processor
from workbench.cli import demo as command
from workbench.services.demo import DemoPlan
from workbench.services.demo_time import LONG, STARTING, demo_time

USUAL = Processor(
    instructions="AVX2", cpu_dtype="float32", device="cpu", device_name="cpu AVX2", device_dtype="float32",
    gflops=58.0,
)  # fmt: skip


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Say what torch has measured, on two cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)

    def say(**changes: Any) -> None:
        found = msgspec.structs.replace(USUAL, **changes)
        monkeypatch.setattr(processor, "ask", lambda: found)

    return say


def test_a_slower_machine_takes_longer(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measured()
    usual = demo_time()
    assert usual is not None
    assert not usual.is_long
    measured(gflops=29.0)
    slow = demo_time()
    assert slow is not None
    assert slow.whole - STARTING == pytest.approx(2 * (usual.whole - STARTING))
    assert slow.is_long
    assert slow.small < LONG
    assert "workbench demo --small" in slow.sentence
    measured(gflops=1.0, device="cuda:0")
    assert demo_time().is_long is False  # type: ignore[union-attr]
    monkeypatch.setattr(processor, "ask", lambda: None)
    assert demo_time() is None


@pytest.mark.parametrize(
    ("asking", "answer", "small"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_person_chooses_and_nobody_is_asked_without_one(
    measured: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    asking: bool, answer: bool, small: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr("typer.confirm", lambda *_, **__: answer)
    measured()
    assert command._is_small_enough(asking=asking) is False
    measured(gflops=10.0)
    assert command._is_small_enough(asking=asking) is small
    assert "about" in capsys.readouterr().err


def test_the_small_demo_is_smaller_everywhere() -> None:
    small, whole = DemoPlan.small(), DemoPlan()
    assert small.generate.max_new_tokens < whole.generate.max_new_tokens
    assert small.reward.epochs < whole.reward.epochs
    assert small.ppo.steps * small.ppo.max_new_tokens < whole.ppo.steps * whole.ppo.max_new_tokens / 2
    assert whole.export.int8
    assert not small.export.int8
