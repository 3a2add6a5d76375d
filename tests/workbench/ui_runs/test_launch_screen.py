"""The form of a job."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from engine.protocol.building import check_field
from engine.protocol.catalog import JOBS
from engine.protocol.configs import DPOConfig, JudgeConfig, PPOConfig, RewardConfig
from engine.protocol.fields import fields
from tests.workbench.ui_runs.drawn import assert_harmless, drawn
from tests.workbench.ui_runs.fakes import HOSTILE, FakeJobs, reward_model, run, workspace
from tests.workbench.ui_runs.waiting import until
from workbench.app import WorkbenchApp
from workbench.screens.launch import LaunchScreen
from workbench.screens.launch_form import ConfigForm, FieldRow, FormSection, SectionHead
from workbench.screens.launch_search import SettingSearch
from workbench.screens.launch_search import found as search
from workbench.services.runs.form_groups import OTHER, essentials, groups
from workbench.services.runs.form_presets import presets
from workbench.widgets.choice import Choice, ChooseScreen
from workbench.widgets.run_pane import RunPane


def row(app: Any, name: str) -> FieldRow:
    return next(item for item in app.screen.query(FieldRow) if item.field.name == name)


async def open_form(pilot: Pilot[Any], kind: str) -> None:
    pilot.app.action_launch(kind)  # type: ignore[attr-defined]
    await until(pilot, lambda: bool(pilot.app.screen.query(FieldRow)))
    await until(pilot, lambda: not pilot.app.screen.keys_wait)  # type: ignore[attr-defined]


async def unfold(app: Any) -> None:
    for section in app.screen.query(FormSection):
        await section.open()


@pytest.mark.parametrize("kind", list(JOBS))
async def test_every_job_has_a_form_with_all_its_fields(kind: str) -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(160, 60)) as pilot:
        await open_form(pilot, kind)
        names = [field.name for field in fields(JOBS[kind].config)]
        first = [item.field.name for item in app.screen.query(FieldRow)]
        assert 0 < len(first) <= 12
        await unfold(app)
        shown = [item.field.name for item in app.screen.query(FieldRow)]
        assert shown[: len(first)] == first
        assert sorted(shown) == sorted(names)


def test_every_setting_of_every_job_has_a_group() -> None:
    for kind, job in JOBS.items():
        names = [field.name for field in fields(job.config)]
        needed = [field.name for field in fields(job.config) if field.required]
        first = essentials(kind, names, needed)
        assert set(needed) <= set(first) <= set(names), kind
        assert len(set(first)) == len(first)
        rest = groups([name for name in names if name not in first])
        assert OTHER not in rest, f"{kind}: {rest.get(OTHER)}"
        grouped = [name for members in rest.values() for name in members]
        assert sorted([*first, *grouped]) == sorted(names), kind


async def test_a_setting_is_found_by_a_word_of_its_name_or_of_what_it_means() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot, "ppo")
        assert not [item for item in app.screen.query(FieldRow) if item.field.name == "clip_high"]
        await pilot.press("ctrl+f", *"ratio clip")
        await until(pilot, lambda: isinstance(app.screen, SettingSearch) and "DAPO" in drawn(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
        found = app.screen.query_one(ConfigForm)
        await until(pilot, lambda: found.focused_row is not None and found.focused_row.display)
        assert found.focused_row is not None
        assert found.focused_row.field.name == "clip_high"
        await pilot.press("ctrl+f", *"gamma x", "enter")  # nothing has both words
        await until(pilot, lambda: isinstance(app.screen, SettingSearch))
        await pilot.press("escape")
        await until(pilot, lambda: found.focused_row is not None and found.focused_row.has_focus_within)
    meant = [field.name for field in search(fields(PPOConfig), "lora")]
    assert meant[0] == "lora_rank"  # by its name, before what only mentions it


async def test_what_is_folded_is_read_and_its_fault_unfolds_it() -> None:
    jobs = FakeJobs()
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(80, 60)) as pilot:
        app.action_launch("ppo", {"clip": 0.3, "gamma": 7.0})
        await until(pilot, lambda: bool(app.screen.query(FieldRow)))
        assert not [item for item in app.screen.query(FieldRow) if item.field.name == "gamma"]
        await until(pilot, lambda: "▸ Objective" in drawn(app) and "2 changed" in drawn(app))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "gamma must be a number" in drawn(app))
        assert jobs.submitted == []
        row(app, "gamma").put("1")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(jobs.submitted))
        assert jobs.submitted[0][1].clip == 0.3


async def test_a_section_is_unfolded_and_folded_by_one_key_and_keeps_what_it_says() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot, "score")
        section = next(each for each in app.screen.query(FormSection) if each.title == "Optimiser")
        head = section.query_one(SectionHead)
        head.focus()
        await pilot.press("enter", "tab", "end", "7")
        await until(pilot, lambda: any(item.value.endswith("7") for item in app.screen.query(FieldRow)))
        typed = row(app, "batch_tokens").value
        assert "1 changed" in drawn(app)
        head.focus()
        await pilot.press("space")
        await until(pilot, lambda: not row(app, "batch_tokens").display)
        await pilot.press("space")
        await until(pilot, lambda: row(app, "batch_tokens").display)
        assert row(app, "batch_tokens").value == typed


async def test_a_form_starts_with_the_settings_of_the_last_run() -> None:
    jobs = FakeJobs()
    config = {"name": "old", "learning_rate": 0.25, "policy": "gone", "no_such_setting": 1}
    jobs.runs.append(run("dpo-1", "dpo", "done", config=config))
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot, "dpo")
        assert row(app, "learning_rate").value == "0.25"
        assert row(app, "name").value == "dpo-2", "a name of its own"
        assert row(app, "policy").value != "gone", "a policy that there is no more is not offered"


async def test_a_form_is_filled_with_a_preset_or_the_settings_of_a_run() -> None:
    jobs = FakeJobs()
    jobs.runs.append(run("grpo-1", "grpo", "done", config={"name": "old", "steps": 77, "samples": 3}))
    made = workspace(jobs=jobs)
    made.settings.presets = {"grpo": {"mine": {"steps": 9}}}

    async def fill(pilot: Pilot[Any], moves: int) -> str:
        await pilot.press("ctrl+r")
        await until(pilot, lambda: isinstance(app.screen, ChooseScreen))
        await pilot.press(*["down"] * moves, "enter")
        await until(pilot, lambda: not isinstance(app.screen, ChooseScreen))
        await pilot.press("shift+tab", "tab")  # waits until the form stands
        await until(pilot, lambda: bool(app.screen.query(FieldRow)))
        return " ".join(row(app, name).value for name in ("steps", "samples", "name"))

    app = WorkbenchApp(made)
    async with app.run_test(size=(100, 30)) as pilot:
        await open_form(pilot, "grpo")
        await unfold(app)
        assert row(app, "steps").value == "77", "as the last run"
        found = [await fill(pilot, moves) for moves in range(5)]
        default = {field.name: field.default for field in fields(JOBS["grpo"].config)}
        usual = f"{default['steps']} {default['samples']} grpo-2"
        assert found == [usual, f"9 {default['samples']} grpo-2", "5 4 grpo-2", usual, "77 3 grpo-2"]


@pytest.mark.parametrize("kind", list(JOBS))
def test_presets_are_settings_that_the_job_takes(kind: str) -> None:
    for values in presets(kind, {}, []).values():
        for name, value in values.items():
            check_field(JOBS[kind].config, name, value)


async def test_a_run_is_started_again_with_its_settings() -> None:
    jobs = FakeJobs()
    jobs.runs.insert(0, run("dpo-1", "dpo", "done", config={"name": "old", "beta": 0.7, "seed": 5}))
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("f5")
        await until(
            pilot, lambda: "dpo-1" in drawn(app) and app.screen.query_one(RunPane).picture is not None
        )
        await pilot.press("a")
        await until(pilot, lambda: bool(app.screen.query(FieldRow)))
        assert row(app, "beta").value == "0.7"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(jobs.submitted))
        assert (jobs.submitted[0][1].beta, jobs.submitted[0][1].seed) == (0.7, 5)


async def test_a_moved_cursor_styles_its_own_line_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the whole form, which took a third of a second a key."""
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(160, 60)) as pilot:
        await open_form(pilot, "ppo")
        await unfold(app)
        assert len(list(app.screen.walk_children())) > 250
        row(app, "steps").query_one(Input).focus()
        await pilot.pause()
        styled: list[int] = []
        update = app.stylesheet.update_nodes
        monkeypatch.setattr(
            app.stylesheet,
            "update_nodes",
            lambda nodes, **k: (styled.append(len(set(nodes))), update(nodes, **k)),
        )
        await pilot.press("tab")
        await until(pilot, lambda: not row(app, "steps").has_focus_within)
        assert 0 < sum(styled) < 60
        label = app.screen.query_one(ConfigForm).focused_row.query_one(".field-label")  # type: ignore[union-attr]
        assert label.styles.text_style.bold, "the line with the cursor is lit"
        assert not row(app, "steps").query_one(".field-label").styles.text_style.bold


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
        await unfold(app)
        row(app, "ensemble").put("many")
        await until(pilot, lambda: row(app, "ensemble").has_class("-faulty"))
        row(app, "holdout").put("2")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "holdout must be a number" in drawn(app))
        assert jobs.submitted == []
        assert row(app, "holdout").has_focus_within
        row(app, "holdout").put("0.2")
        await until(pilot, lambda: not row(app, "holdout").has_class("-faulty"))
        assert row(app, "ensemble").has_class("-faulty")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "ensemble must be a whole number" in drawn(app))
        assert row(app, "ensemble").has_focus_within


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
        await unfold(app)
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
        assert jobs.submitted[0][1] == PPOConfig(
            name="ppo-1", reward_model="concise-rm", learning_rate=2e-5, epochs=1, tuning="lora"
        ), "with the settings of the last run"


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


async def test_a_judge_is_asked_only_for_what_belongs_to_it() -> None:
    """Who judges decides which settings mean anything; its name may stay empty."""
    jobs = FakeJobs()
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(120, 60)) as pilot:
        app.action_launch("judge", {"by": "endpoint"})
        await until(pilot, lambda: bool(app.screen.query(FieldRow)))
        await until(pilot, lambda: not app.screen.keys_wait)  # type: ignore[attr-defined]
        shown = {item.field.name for item in app.screen.query_one(ConfigForm).rows()}
        assert {"by", "policy", "endpoint", "rubric", "name"} <= shown
        assert not {"reward_model", "function"} & shown
        await pilot.press("ctrl+s")
        said = "Say which endpoint judges: give endpoint."
        await until(pilot, lambda: [note.message for note in app._notifications] == [said])
        assert jobs.submitted == []
        row(app, "endpoint").put("http://localhost:9/v1")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(jobs.submitted))
    ((kind, config),) = [(kind, config) for kind, config, *_ in jobs.submitted]
    assert kind == "judge"
    assert isinstance(config, JudgeConfig)
    assert (config.by, config.endpoint, config.name) == ("endpoint", "http://localhost:9/v1", "")
