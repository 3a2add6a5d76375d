"""The score screen: as one types, the newest text wins, and what it says when it cannot score."""

from __future__ import annotations

import threading
import time
from typing import Any

from textual.pilot import Pilot
from textual.widgets import TextArea

from engine.errors import ModelFilesError
from tests.workbench.ui_runs.drawn import assert_harmless, drawn
from tests.workbench.ui_runs.fakes import HOSTILE, FakeScorer, FakeScoring, reward_model, workspace
from tests.workbench.ui_runs.waiting import until
from workbench.app import WorkbenchApp
from workbench.screens.launch_form import FieldRow


class SlowScoring(FakeScoring):
    """Computes only when it is let; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.asked: list[str] = []

    def scorer(self, name: str, precision: str = "int8") -> FakeScorer:
        scorer = super().scorer(name, precision)
        score = scorer.score

        def slow(messages: Any, responses: list[str]) -> list[Any]:
            self.asked.append(responses[0])
            self.gate.wait(20)
            return score(messages, responses)

        scorer.score = slow  # type: ignore[method-assign]
        return scorer


async def open_score(pilot: Pilot[Any]) -> None:
    await pilot.press("f4")
    await until(pilot, lambda: "preferred" in drawn(pilot.app) or "alike" in drawn(pilot.app))


async def test_a_stored_prompt_is_scored_at_once_and_again_while_typing() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_score(pilot)
        first = drawn(app)
        assert "int8" in first
        assert "CPU" in first
        assert " ms" in first
        assert "running score" in first
        area = app.screen.query_one("#text-a", TextArea)
        before = area.border_subtitle
        await pilot.press(*"Well, ")
        await until(pilot, lambda: area.border_subtitle != before)


async def test_the_newest_text_wins_and_what_it_overtook_is_not_computed() -> None:
    scoring = SlowScoring()
    app = WorkbenchApp(workspace(scoring=scoring))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f4")
        await until(pilot, lambda: len(scoring.asked) == 1)
        area = app.screen.query_one("#text-a", TextArea)
        for text in ("one", "one two", "one two three"):
            area.text = text
            await pilot.pause(0.15)
        assert len(scoring.asked) == 1
        scoring.gate.set()
        await until(pilot, lambda: "3 tokens" in drawn(app))
        assert scoring.asked[1:] == ["one two three"]


async def test_typing_is_never_held_up_by_a_slow_model() -> None:
    scoring = SlowScoring()
    app = WorkbenchApp(workspace(scoring=scoring))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f4")
        await until(pilot, lambda: len(scoring.asked) == 1)
        area = app.screen.query_one("#text-a", TextArea)
        area.text = ""
        started = time.perf_counter()
        await pilot.press(*"typed while it computes")
        assert time.perf_counter() - started < 10
        assert area.text == "typed while it computes"
        scoring.gate.set()


async def test_precision_is_toggled_and_shown() -> None:
    scoring = FakeScoring()
    app = WorkbenchApp(workspace(scoring=scoring))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_score(pilot)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "fp32" in drawn(app).splitlines()[2])
        assert ("concise-rm", "fp32") in scoring.opened


async def test_without_a_reward_model_it_says_which_key_trains_one() -> None:
    app = WorkbenchApp(workspace(reward_models=[]))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f4")
        await until(pilot, lambda: "No reward model yet" in drawn(app))
        await pilot.press("t")
        await until(pilot, lambda: bool(app.screen.query(FieldRow)))
        assert "Train a reward model" in drawn(app)


async def test_without_an_export_it_says_which_key_exports_and_fills_the_form() -> None:
    app = WorkbenchApp(workspace(reward_models=[reward_model("fresh-rm", onnx=None)]))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f4")
        await until(pilot, lambda: "fresh-rm has no ONNX export yet" in drawn(app))
        await pilot.press("e")
        await until(pilot, lambda: bool(app.screen.query(FieldRow)))
        assert app.screen.query(FieldRow).first().value == "fresh-rm"


class BrokenScoring(FakeScoring):
    """An export that cannot be opened; remembers how often it was tried."""

    def scorer(self, name: str, precision: str = "int8") -> FakeScorer:
        super().scorer(name, precision)
        raise ModelFilesError("The file was exported by another version; export it again.")


async def test_what_cannot_be_scored_is_told_once_and_tried_again_with_the_next_text() -> None:
    scoring = BrokenScoring()
    app = WorkbenchApp(workspace(scoring=scoring))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("f4")
        await until(pilot, lambda: len(scoring.opened) == 1)
        app.screen.score_soon()  # type: ignore[attr-defined]
        await pilot.pause(0.4)
        assert len(scoring.opened) == 1
        assert "another version" in drawn(app)
        await pilot.press("x")
        await until(pilot, lambda: len(scoring.opened) == 2)


async def test_hostile_text_in_prompt_responses_tokens_and_names() -> None:
    app = WorkbenchApp(workspace(reward_models=[reward_model(text) for text in HOSTILE]))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_score(pilot)
        for name in ("prompt", "text-a", "text-b"):
            app.screen.query_one(f"#{name}", TextArea).text = "\n".join(HOSTILE)
        app.screen.query_one("#text-a", TextArea).insert("".join(HOSTILE))
        await pilot.pause(0.5)
        assert_harmless(drawn(app))
        await pilot.press("ctrl+o")
        await pilot.pause(0.3)
        assert_harmless(drawn(app))
