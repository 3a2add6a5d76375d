"""Keys that come faster than anything is drawn: each does what it says, in the order of typing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.app import ComposeResult, ScreenStackError
from textual.widgets import Input, OptionList

from engine.protocol.configs import PPOConfig
from tests.workbench.test_at_once import filled, press
from tests.workbench.ui_rank.driving import opened, until
from tests.workbench.ui_rank.fakes import fake_workspace
from workbench.app import WorkbenchApp
from workbench.keyboard import LOOK_SECONDS, EscapeParser, two_keys
from workbench.leaving import came_too_late
from workbench.messages import CurrentJob
from workbench.screens.help import help_content
from workbench.screens.launch_form import ConfigForm
from workbench.sturdy import PAINT_SECONDS, SturdyApp
from workbench.widgets.choice import Choice, ChooseScreen
from workbench.widgets.header import job_text


def names(bytes_: str, focused: object = None) -> list[str]:
    """The keys that the application gives out for what the terminal has sent in one piece."""
    parser = EscapeParser()
    found = [*parser.feed(bytes_), *parser.feed("")]
    return [each.key for key in found if isinstance(key, events.Key) for each in two_keys(key, focused)]


@given(st.sampled_from("acdefghijklmnpqrstuvwxyzABCDEFGH1234567890=-!,. \r"))
def test_escape_and_a_key_in_one_packet_are_two_keys(character: str) -> None:
    (alone,) = names(character)
    assert names("\x1b" + character + "xyz") == ["escape", alone, "x", "y", "z"]


def test_sequences_stay_what_they_are() -> None:
    assert names("\x1b[A\x1bOP\x1b[17~") == ["up", "f1", "f6"]
    assert names("\x1bf\x1bb ", Input()) == ["ctrl+right", "ctrl+left", "space"]
    assert names("\x1bb ") == ["escape", "b", "space"]


async def test_digits_right_after_tab_are_in_the_field_that_tab_goes_to(tmp_path: Path) -> None:
    with filled(tmp_path) as workspace:
        async with opened(workspace) as (app, pilot):
            press(app, "f8", "down", "down", "enter", "x", "y", "z")
            await until(pilot, lambda: bool(app.screen.query(ConfigForm)) and isinstance(app.focused, Input))
            form = app.screen.query_one(ConfigForm)
            assert form.config_type is PPOConfig
            await until(pilot, lambda: form.rows()[0].value == "xyz")
            rows = [row for row in form.rows() if row.query("Input")]
            first = next(i for i, row in enumerate(form.rows()) if row.field.name == "samples")
            row, behind = form.rows()[first : first + 2]
            assert row in rows
            assert behind in rows
            before = row.value, behind.value
            row.query_one(Input).focus()
            await pilot.pause()
            press(app, "end", "7", "tab", "end", "1", "3", "shift+tab", "end", "5")
            await until(pilot, lambda: row.value == before[0] + "75" and behind.value == before[1] + "13")


async def test_a_dialog_has_the_keys_behind_the_one_that_opens_it(tmp_path: Path) -> None:
    with filled(tmp_path) as workspace:
        async with opened(workspace) as (app, pilot):
            app.action_launch("reward")
            await until(pilot, lambda: bool(app.screen.query(Choice)))
            choice = next(each for each in app.screen.query(Choice) if len(each.names) > 2 and each.display)
            choice.focus()
            await pilot.pause()
            begin = choice.names.index(choice.value)
            press(app, "enter", "down", "enter", "right")
            wanted = choice.names[(begin + 2) % len(choice.names)]
            await until(pilot, lambda: choice.value == wanted)
            press(app, "enter", "down", "escape")
            await until(pilot, lambda: not isinstance(app.screen, ChooseScreen))
            assert choice.value == wanted


@pytest.mark.parametrize(
    ("text", "mode"),
    [("F3", "rank"), ("Rank", "rank"), ("F6", "compare"), ("Runs", "runs"), ("Prompts", "prompts")],
)
async def test_a_click_on_the_bar_of_places_goes_there(text: str, mode: str) -> None:
    async with opened(fake_workspace()) as (app, pilot):
        line = app.screen.query_one("Tabs").render_line(0).text
        assert await pilot.click("Tabs", offset=(line.index(text), 0))
        await until(pilot, lambda: app.current_mode == mode)


async def test_a_click_on_a_hint_below_is_its_key() -> None:
    async with opened(fake_workspace()) as (app, pilot):
        line = app.screen.query_one("KeyBar").render_line(0).text
        await pilot.click("KeyBar", offset=(line.index("import"), 0))
        await until(pilot, lambda: type(app.screen).__name__ == "ImportScreen")
        app.pop_screen()
        await pilot.pause()
        await pilot.click("KeyBar", offset=(line.index("ctrl+p"), 0))
        await until(pilot, lambda: bool(app.screen.query("CommandInput")))


async def test_help_names_a_key_once() -> None:
    async with opened(fake_workspace()) as (app, _):
        lines = help_content(app.screen).plain.splitlines()
        (palette,) = [line for line in lines if line.split()[:1] == ["ctrl+p"]]
        assert palette.endswith("Commands by name")


def test_what_a_job_is_at_is_cut_with_a_sign() -> None:
    told = job_text(CurrentJob("a-name-that-is-quite-long-1a2b3c", "waits for cpu, busy with reward-1", None))
    assert told.plain == "a-name-that-is-qu… waits for cpu, bu… "


async def test_ctrl_z_gives_the_terminal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(WorkbenchApp, "action_suspend_process", lambda app: asked.append(app))
    async with opened(fake_workspace()) as (_, pilot):
        await pilot.press("ctrl+z")
        await until(pilot, lambda: len(asked) == 1)


async def test_keys_typed_for_what_does_not_come_are_dropped_and_counted() -> None:
    async with opened(fake_workspace()) as (app, pilot):
        app.screen.keys_wait = True  # type: ignore[attr-defined]
        press(app, "i", "x")
        await pilot.pause()
        app.forget_typed("The disk is full")
        wanted = "The disk is full: 2 keys typed ahead were not taken."
        await until(pilot, lambda: [note.message for note in app._notifications] == [wanted])
        assert not app.screen.query(OptionList)
        app.screen.keys_wait = False  # type: ignore[attr-defined]


class TwoFields(SturdyApp):
    """Nothing but two fields, of which the first has the cursor."""

    def compose(self) -> ComposeResult:
        yield Input()
        yield Input()


async def test_a_key_goes_where_the_cursor_was_put_when_the_wait_ended() -> None:
    app = TwoFields()
    async with app.run_test() as pilot:
        first, second = app.query(Input)
        await until(pilot, lambda: app.focused is first)
        app.screen.keys_wait = True  # type: ignore[attr-defined]
        press(app, "x", "y")  # type: ignore[arg-type]
        await pilot.pause()
        app.call_later(asyncio.sleep, 0.2)  # busy with something else, and so late with the cursor
        second.focus()
        app.screen.keys_wait = False  # type: ignore[attr-defined]
        await until(pilot, lambda: app.keyboard.waiting == 0)
        await until(pilot, lambda: (first.value, second.value) == ("", "xy"))


async def test_keys_that_wait_when_the_application_ends_go_with_it() -> None:
    async with opened(fake_workspace()) as (app, pilot):
        app.screen.keys_wait = True  # type: ignore[attr-defined]
        press(app, "i", "x")
        await pilot.pause()
        assert app.keyboard.waiting == 2
    await asyncio.sleep(10 * LOOK_SECONDS)  # whoever still asked for the screen on top would break
    assert app.keyboard.waiting == 0


async def test_who_comes_back_to_an_application_that_has_ended_tells_no_fault() -> None:
    async with opened(fake_workspace()) as (app, _):
        screen = app.screen
        assert not came_too_late(ScreenStackError(), screen)  # while it runs that would be a fault
    with pytest.raises(ScreenStackError) as caught:
        assert app.screen
    assert came_too_late(caught.value, app)


async def test_what_a_key_changes_is_painted_soon() -> None:
    """Every screen, those on top of others too, paints within the time of the workbench."""
    async with opened(fake_workspace()) as (app, pilot):
        await pilot.press("f3")
        await pilot.press("f1")
        assert len(app.screen_stack) > 1
        for screen in app.screen_stack:
            assert screen._update_timer._interval == PAINT_SECONDS
