"""The form of a job."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from engine.protocol.catalog import JOBS, fields
from engine.protocol.configs import DPOConfig, PPOConfig, RewardConfig
from tests.workbench.ui_runs.drawn import assert_harmless, drawn
from tests.workbench.ui_runs.fakes import HOSTILE, FakeJobs, reward_model, workspace
from tests.workbench.ui_runs.waiting import until
from workbench.app import WorkbenchApp
from workbench.screens.launch_form import ConfigForm, FieldRow
from workbench.widgets.choice import Choice


def row(app: Any, name: str) -> FieldRow:
    return next(item for item in app.screen.query(FieldRow) if item.field.name == name)


async def open_form(pilot: Pilot[Any], kind: str) -> None:
    pilot.app.action_launch(kind)  # type: ignore[attr-defined]
    await until(pilot, lambda: bool(pilot.app.screen.query(FieldRow)))


@pytest.mark.parametrize("kind", list(JOBS))
async def test_every_job_has_a_form_with_all_its_fields(kind: str) -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(160, 60)) as pilot:
        await open_form(pilot, kind)
        shown = [item.field.name for item in app.screen.query(FieldRow)]
        assert shown == [field.name for field in fields(JOBS[kind].config)]


async def test_a_form_without_its_controls_has_no_draft() -> None:
    """The estimate may ask before they are put in, or while they are taken out."""
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot, "reward")
        form = app.screen.query_one(ConfigForm)
        await until(pilot, lambda: form.draft() is not None)
        await row(app, "ensemble").query(".field-control").remove()
        assert form.draft() is None


class LastToGo(Static):
    """Keeps its screen half taken down until what waited there has come back and found nothing."""

    def __init__(self, answer: threading.Event) -> None:
        super().__init__()
        self.answer = answer

    async def on_unmount(self) -> None:
        while self.screen.query("#estimate"):
            await asyncio.sleep(0.01)
        self.answer.set()
        await asyncio.sleep(0.2)


async def test_a_form_that_closes_while_it_waits_for_the_estimate_ends_quietly() -> None:
    asked, answer = threading.Event(), threading.Event()

    def sentence(config: Any) -> str:
        asked.set()
        answer.wait(10)
        return "About 1.0 GB of memory at its peak."

    filled = workspace()
    filled.estimating.sentence = sentence
    app = WorkbenchApp(filled)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot, "reward")
        await app.screen.mount(LastToGo(answer))
        await until(pilot, asked.is_set)
    assert answer.is_set()  # it came back, and leaving the application raised nothing


async def test_a_wrong_value_is_told_beside_its_field_and_nothing_is_started() -> None:
    jobs = FakeJobs()
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot, "reward")
        row(app, "ensemble").put("many")
        await until(pilot, lambda: row(app, "ensemble").has_class("-faulty"))
        row(app, "holdout").put("2")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "ensemble must be a whole number" in drawn(app))
        assert jobs.submitted == []
        assert row(app, "ensemble").has_focus_within
        row(app, "ensemble").put("2")
        await until(pilot, lambda: not row(app, "ensemble").has_class("-faulty"))
        assert row(app, "holdout").has_class("-faulty")


async def test_a_filled_form_is_submitted_and_the_runs_screen_shows_the_run() -> None:
    jobs = FakeJobs()
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot, "reward")
        row(app, "name").put("concise")
        row(app, "holdout").put("0.3")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(jobs.submitted))
        kind, config = jobs.submitted[0]
        assert kind == "reward"
        assert isinstance(config, RewardConfig)
        assert (config.name, config.holdout) == ("concise", 0.3)
        await until(pilot, lambda: app.current_mode == "runs" and "reward-000001" in drawn(app))
        assert jobs.submitted[1:] == [("export", "concise")]


async def test_settings_that_would_be_ignored_are_not_in_the_form() -> None:
    jobs = FakeJobs()
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot, "dpo")
        row(app, "name").put("d")
        assert row(app, "label_smoothing").display
        row(app, "label_smoothing").put("0.2")
        row(app, "loss").query_one(Choice).value = "ipo"
        await until(pilot, lambda: not row(app, "label_smoothing").display)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(jobs.submitted))
        assert jobs.submitted[0][1] == DPOConfig(name="d", loss="ipo")


async def test_by_keyboard_alone_from_the_list_to_the_button() -> None:
    jobs = FakeJobs()
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f8")
        await until(pilot, lambda: bool(app.screen.query(ConfigForm)))
        await pilot.press("down", "down")
        await until(pilot, lambda: app.screen.query_one(ConfigForm).config_type is PPOConfig)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press("shift+tab", "enter")
        await until(pilot, lambda: bool(jobs.submitted))
        assert jobs.submitted[0][1] == PPOConfig(name="ppo-1", reward_model="concise-rm")


async def test_names_of_the_store_are_offered() -> None:
    app = WorkbenchApp(workspace(reward_models=[reward_model("first"), reward_model("second")]))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot, "export")
        await until(pilot, lambda: row(app, "reward_model").has_focus_within)
        assert row(app, "reward_model").value == "first"
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "second" in drawn(app))
        await pilot.press("down", "enter")
        await until(
            pilot, lambda: bool(app.screen.query(FieldRow)) and row(app, "reward_model").value == "second"
        )


async def test_hostile_names_and_pasted_controls_are_drawn_as_text() -> None:
    made = workspace(reward_models=[reward_model(text) for text in HOSTILE])
    app = WorkbenchApp(made)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot, "export")
        await until(pilot, lambda: row(app, "reward_model").has_focus_within)
        assert_harmless(drawn(app))
        await pilot.press("ctrl+o")
        await pilot.pause(0.2)
        assert_harmless(drawn(app))
        await pilot.press("down", "enter")
        await pilot.pause(0.2)
        for text in HOSTILE:
            row(app, "reward_model").put(text)
            await pilot.press("ctrl+s")
            await pilot.pause(0.1)
            if not app.screen.query(FieldRow):
                break
            assert_harmless(drawn(app))
