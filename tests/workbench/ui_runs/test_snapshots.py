"""How the screens look, at the smallest and at a large terminal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from textual.pilot import Pilot

from tests.workbench.ui_runs.drawn import drawn
from tests.workbench.ui_runs.fakes import START, FakeJobs, FakeScorer, FakeSql, ppo_metrics, workspace
from tests.workbench.ui_runs.test_run_screens import best_of_n, learned
from tests.workbench.ui_runs.waiting import until
from workbench.app import WorkbenchApp
from workbench.screens.launch_form import FieldRow
from workbench.screens.score import ScoredPair

SIZES = [(80, 24), (160, 48)]


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same time, latency and cursor every time."""
    for module in ("workbench.screens.runs.screen", "workbench.widgets.run_pane"):
        monkeypatch.setattr(f"{module}.clock", lambda: START + timedelta(seconds=742))

    def answer(_workspace: Any, request: Any) -> ScoredPair:
        scored = FakeScorer(request.precision).score([], list(request.responses))
        return ScoredPair(request, scored, "CPUExecutionProvider", 9.0)

    monkeypatch.setattr("workbench.screens.score.score_now", answer)
    monkeypatch.setattr("textual.widgets.TextArea.cursor_blink", False)
    monkeypatch.setattr("textual.widgets.Input.cursor_blink", False)


def table() -> pa.Table:
    rows = range(40)
    return pa.table(
        {
            "prompt_id": [f"p{i:016x}" for i in rows],
            "text": [
                "How do I keep basil alive?\nIn winter" if i % 3 else "[/foo] closes nothing" for i in rows
            ],
            "score": [i / 7 if i % 5 else None for i in rows],
            "kept": [i % 2 == 0 for i in rows],
        }
    )


async def runs(pilot: Pilot[Any]) -> None:
    await pilot.press("f5")
    await until(pilot, lambda: "62%" in drawn(pilot.app) and "KL a response" in drawn(pilot.app))
    await pilot.pause(0.3)


async def failed(pilot: Pilot[Any]) -> None:
    await runs(pilot)
    await pilot.press("end", "d")
    await until(pilot, lambda: "OSError" in drawn(pilot.app) and "Resume" in drawn(pilot.app))
    await pilot.pause(0.3)


async def score(pilot: Pilot[Any]) -> None:
    await pilot.press("f4")
    await until(pilot, lambda: "preferred" in drawn(pilot.app) and "62%" in drawn(pilot.app))
    await pilot.pause(0.3)


async def sql(pilot: Pilot[Any]) -> None:
    await pilot.press("f7")
    await until(pilot, lambda: "win_rates" in drawn(pilot.app))
    await pilot.press("f9")
    await until(pilot, lambda: "40 rows" in drawn(pilot.app) and "62%" in drawn(pilot.app))
    await pilot.pause(0.3)


async def launch(pilot: Pilot[Any]) -> None:
    pilot.app.action_launch("ppo")  # type: ignore[attr-defined]
    await until(pilot, lambda: bool(pilot.app.screen.query(FieldRow)))
    await until(pilot, lambda: "max new tokens" in drawn(pilot.app))
    row = next(item for item in pilot.app.screen.query(FieldRow) if item.field.name == "samples")
    row.put("none")
    await until(pilot, lambda: "whole number" in drawn(pilot.app) and "62%" in drawn(pilot.app))
    await until(pilot, lambda: "GB of memory" not in drawn(pilot.app))
    await pilot.pause(0.6)


async def overlaid(pilot: Pilot[Any]) -> None:
    """Two runs over each other, the newest half of their steps, smoothed."""
    await runs(pilot)
    await pilot.press("down", "down", "space", "home", "plus", "e")
    await until(pilot, lambda: "▲ concise-rm" in drawn(pilot.app) and "smoothed" in drawn(pilot.app))
    await pilot.pause(0.3)


async def samples(pilot: Pilot[Any]) -> None:
    """Responses of the last step beside those of the step before, on the full screen."""
    await runs(pilot)
    await pilot.press("enter", "s")
    await until(pilot, lambda: "step 10, score" in drawn(pilot.app))
    await pilot.press("j")
    await pilot.pause(0.3)


async def tokens(pilot: Pilot[Any]) -> None:
    """The token inspector, sorted by KL."""
    await samples(pilot)
    await pilot.press("t")
    await until(pilot, lambda: "Water·it" in drawn(pilot.app))
    await pilot.press("right", "right", "o", "down")
    await until(pilot, lambda: "▼KL" in drawn(pilot.app))
    await pilot.pause(0.3)


async def formula(pilot: Pilot[Any]) -> None:
    """The loss of PPO with its numbers, on the full screen."""
    await runs(pilot)
    await pilot.press("enter", "f")
    await until(pilot, lambda: "L_V" in drawn(pilot.app))
    await pilot.pause(0.3)


async def ways(pilot: Pilot[Any]) -> None:
    """Proxy, gold and best of n against √KL."""
    await runs(pilot)
    await pilot.press("g")
    await until(pilot, lambda: "gold peaks" in drawn(pilot.app))
    await pilot.pause(0.3)


EVERYWHERE = [runs, failed, tokens, ways, score, sql, launch]
LOOKS = [
    pytest.param(go, size, id=f"{go.__name__}-{name}")
    for name, size in zip(("small", "large"), SIZES, strict=True)
    for go in (EVERYWHERE if name == "large" else [*EVERYWHERE, overlaid, samples, formula])
]


@pytest.mark.parametrize(("go", "size"), LOOKS)
def test_look(snap_compare: Any, go: Callable[[Pilot[Any]], Any], size: tuple[int, int]) -> None:
    jobs = FakeJobs()
    jobs.metric_rows["reward-5b2c1d"] = ppo_metrics(20)
    made = workspace(jobs=jobs, sql=FakeSql(table()), ways=[learned(), best_of_n()])
    assert snap_compare(WorkbenchApp(made), terminal_size=size, run_before=go)
