"""Keys of the rank screen that come faster than the store: none is lost, none means something else."""

from __future__ import annotations

from typing import Any

from storage.errors import StoreError
from tests.workbench.test_at_once import press
from tests.workbench.ui_rank.driving import opened, shown, until
from tests.workbench.ui_rank.fakes import fake_workspace
from tests.workbench.ui_rank.test_rank_screen import go
from workbench.screens.rank.dialogs import NoteScreen, SkipScreen
from workbench.screens.rank.screen import RankScreen


def slow(prompts: int = 6) -> Any:
    workspace = fake_workspace(prompts=prompts)
    workspace.judging.wait = 0.05
    return workspace


def said(workspace: Any) -> list[str]:
    return [details["draft"].said() for _, _, details in workspace.judging.records]


async def test_a_burst_of_three_rankings_records_three() -> None:
    workspace = slow()
    async with opened(workspace) as (app, pilot):
        press(app, "f3", *"abc", "enter", *"dcb", "enter", *"bac", "enter", "n", *"dab")
        await until(pilot, lambda: isinstance(app.screen, NoteScreen))
        await until(pilot, lambda: app.screen.query_one("#note").text == "dab")  # type: ignore[attr-defined]
        assert said(workspace) == ["A > B > C > D", "D > C > B > A", "B > A > C > D"]
        prompts = [item.prompt_id for item, _, _ in workspace.judging.records]
        assert prompts == [f"p{number:016x}" for number in range(3)]


async def test_pairs_then_a_note_at_once() -> None:
    workspace = slow()
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        press(app, "p", "n", *"abc", "enter", "b")
        await until(pilot, lambda: len(workspace.judging.records) == 1)
        draft = workspace.judging.records[0][2]["draft"]
        assert (draft.mode, draft.note, draft.said()) == ("pair", "abc", "B > A")
        await until(pilot, lambda: screen.item is not None)
        assert screen.draft.note == ""


async def test_escape_and_a_letter_leave_the_dialog_and_place() -> None:
    workspace = slow()
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        press(app, "s", "escape", "b", "enter")
        await until(pilot, lambda: screen.draft.order() == "B")
        await pilot.pause(0.1)
        assert not workspace.judging.skips
        press(app, "s", "enter", "a", "c")
        await until(pilot, lambda: screen.draft.order() == "A > C")
        assert len(workspace.judging.skips) == 1
        assert not isinstance(app.screen, SkipScreen)


async def test_what_was_typed_for_the_next_prompt_does_not_change_one_that_was_not_stored() -> None:
    workspace = slow()
    workspace.judging.fail = StoreError("The disk is full: nothing was stored.")
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        press(app, *"abc", "enter", *"dc")
        await until(pilot, lambda: len(app._notifications) == 2)
        await pilot.pause(0.1)
        assert screen.draft.order() == "A > B > C"
        assert {note.message for note in app._notifications} == {
            "The disk is full: nothing was stored.",
            "The judgement is not stored: 2 keys typed ahead were not taken.",
        }


async def test_what_was_typed_for_a_prompt_that_does_not_come_does_nothing() -> None:
    workspace = slow(prompts=1)
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        press(app, *"abc", "enter", *"gi", "p")
        await until(pilot, lambda: "Every prompt is judged." in shown(app))
        await until(pilot, lambda: bool(app._notifications))
        assert app.screen is screen
        assert screen.mode == "rank"


async def test_who_leaves_right_after_a_ranking_has_recorded_it() -> None:
    workspace = slow()
    workspace.judging.wait = 0.2
    async with opened(workspace) as (app, pilot):
        await go(app, pilot)
        press(app, *"abc", "enter", *"bca", "enter", "ctrl+q")
        await until(pilot, lambda: not app.is_running)
    assert said(workspace) == ["A > B > C > D", "B > C > A > D"]


async def test_undo_and_redo_in_a_row() -> None:
    workspace = slow()
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        press(app, *"abc", "enter", *"bcd", "enter", "u", "u", "r", "r", *"dc")
        await until(pilot, lambda: screen.draft.order() == "D > C")
        assert said(workspace) == ["A > B > C > D", "B > C > D > A"]
        assert screen.item is not None
        assert screen.item.prompt_id == f"p{2:016x}"
        press(app, "u", "backspace", "backspace", *"dc", "enter")
        await until(pilot, lambda: len(said(workspace)) == 2 and "✓ B > D > C > A" in shown(app))


async def test_what_was_begun_is_there_again() -> None:
    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        press(app, "b", "d", "exclamation_mark", "full_stop")
        await until(pilot, lambda: len(workspace.judging.drafts) > 0 and screen.draft.confidence == 1)
        await until(pilot, lambda: workspace.judging.drafts[-1].confidence == 1)
        kept = workspace.judging.drafts[-1]
        assert kept.order() == "B > D"
        assert kept.flagged
    again = fake_workspace()
    item = again.judging._item(0, "rank")
    again.judging.begun = type(item)(**{**item.__dict__, "draft": kept})
    async with opened(again) as (app, pilot):
        screen = await go(app, pilot)
        assert isinstance(screen, RankScreen)
        assert screen.draft.order() == "B > D"
        assert "! flagged   a guess" in shown(app)
