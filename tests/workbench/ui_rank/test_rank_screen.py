"""Ranking by keyboard alone."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from storage.errors import StoreError
from tests.workbench.ui_rank.driving import NARROW, WIDE, opened, shown, until
from tests.workbench.ui_rank.fakes import POLICIES, fake_workspace
from workbench.app import WorkbenchApp
from workbench.screens.rank.screen import RankScreen
from workbench.settings import Settings


async def go(app: WorkbenchApp, pilot: Pilot[None]) -> RankScreen:
    """To the rank screen, its first item shown."""
    await pilot.press("f3")
    await until(pilot, lambda: isinstance(app.screen, RankScreen) and app.screen.pace is not None)
    await until(pilot, lambda: not getattr(app.screen, "keys_wait", True))
    assert isinstance(app.screen, RankScreen)
    return app.screen


async def to_next(pilot: Pilot[None], workspace: Any, count: int) -> None:
    """Until the store has `count` judgements and the screen shows what comes after."""

    def shows() -> bool:
        screen = pilot.app.screen
        return isinstance(screen, RankScreen) and screen.pace.done == count and not screen.keys_wait

    await until(pilot, lambda: len(workspace.judging.records) == count and shows())


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_letters_record_and_the_next_item_comes(size: tuple[int, int]) -> None:
    workspace = fake_workspace()
    async with opened(workspace, size) as (app, pilot):
        screen = await go(app, pilot)
        first = screen.item
        assert first is not None
        await pilot.press("b", "equals_sign", "d")
        assert "B = D" in shown(app)
        await pilot.press("enter")
        assert not workspace.judging.records, "an incomplete ranking is not recorded"
        assert "Place every response first; left: A C" in shown(app)
        await pilot.press("a")
        assert "B = D > A > C    ⏎ records it" in shown(app), "the last place is implied"
        await pilot.press("enter")
        await to_next(pilot, workspace, 1)
        item, ranks, details = workspace.judging.records[0]
        a, b, c, d = (candidate.response_id for candidate in first.responses)
        assert item is first
        assert ranks == {b: 1, d: 1, a: 2, c: 3}
        assert details["seconds"] > 0
        assert not details["flagged"]
        assert screen.item is not None
        assert screen.item.prompt_id != first.prompt_id
        assert "✓ B = D > A > C recorded" in shown(app)
        await until(pilot, lambda: "1 done · 5 left · 96 an hour" in shown(app))  # counted when all is seen


async def test_policies_are_never_told_while_a_judgement_can_be_taken_back() -> None:
    workspace = fake_workspace()
    async with opened(workspace, WIDE) as (app, pilot):
        await go(app, pilot)
        for count in (1, 2):
            await pilot.press("c", "a", "equals_sign", "b", "d", "enter")
            await to_next(pilot, workspace, count)
            assert not any(policy in shown(app) for policy in POLICIES)
        await pilot.press("E")
        await until(pilot, lambda: "2 judged" in shown(app))
        assert not any(policy in shown(app) for policy in POLICIES)
        await pilot.press("n")
        await until(pilot, lambda: all(policy in shown(app) for policy in POLICIES[:4]))


async def test_a_project_that_says_never_shows_no_names() -> None:
    workspace = fake_workspace()
    workspace.settings = Settings(db="/x", annotator="ada", reveal="never")
    async with opened(workspace, WIDE) as (app, pilot):
        await go(app, pilot)
        await pilot.press("a", "b", "c", "enter")
        await to_next(pilot, workspace, 1)
        await pilot.press("E")
        await until(pilot, lambda: "1 judged" in shown(app))
        await pilot.press("n")
        assert not any(policy in shown(app) for policy in POLICIES)


async def test_policy_names_are_not_shown_before() -> None:
    async with opened(fake_workspace(responses=5), WIDE) as (app, pilot):
        await go(app, pilot)
        for key in ("a", "b", "enter", "z"):
            assert not any(policy in shown(app) for policy in POLICIES)
            await pilot.press(key)
        assert not any(policy in shown(app) for policy in POLICIES)


async def test_arrows_digits_and_corrections() -> None:
    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        await pilot.press("down", "1", "down", "2", "up", "up", "3", "down", "0")
        assert screen.draft.order() == "C > A"
        await pilot.press("backspace")
        assert screen.draft.order() == "C"
        await pilot.press("down", "down", "2", "b", "a")
        assert screen.draft.order() == "C = D > B > A"
        await pilot.press("space")
        await to_next(pilot, workspace, 1)


async def test_an_error_is_told_and_the_ranks_stay() -> None:
    workspace = fake_workspace()
    workspace.judging.fail = StoreError("The disk is full: nothing was stored.")
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        await pilot.press("a", "b", "c", "d", "enter")
        await until(pilot, lambda: workspace.judging.fail is None)
        await pilot.pause(0.2)
        assert screen.draft.order() == "A > B > C > D"
        assert "recorded" not in shown(app)
        assert [n.message for n in app._notifications] == ["The disk is full: nothing was stored."]
        await pilot.press("enter")
        await to_next(pilot, workspace, 1)


async def test_undo_brings_the_last_judgement_back() -> None:
    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        first = screen.item
        assert first is not None
        await pilot.press("d", "c", "b", "a", "enter")
        await to_next(pilot, workspace, 1)
        await pilot.press("u")
        await until(pilot, lambda: screen.item is not None and screen.item.prompt_id == first.prompt_id)
        assert not workspace.judging.records
        assert screen.draft.order() == "D > C > B > A"
        await pilot.press("enter")
        await to_next(pilot, workspace, 1)


async def test_pairs() -> None:
    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        await pilot.press("p")
        await until(pilot, lambda: screen.item is not None and len(screen.item.responses) == 2)
        pair = screen.item
        assert pair is not None
        await pilot.press("b")
        await to_next(pilot, workspace, 1)
        assert workspace.judging.records[0][1] == {
            pair.responses[1].response_id: 1,
            pair.responses[0].response_id: 2,
        }
        await pilot.press("t")
        await to_next(pilot, workspace, 2)
        assert set(workspace.judging.records[1][1].values()) == {1}


async def test_skip_flag_and_note() -> None:
    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot)
        await pilot.press("s", "escape")
        assert not workspace.judging.skips
        await pilot.press("s", "down", "enter")
        await until(pilot, lambda: len(workspace.judging.skips) == 1)
        assert workspace.judging.skips[0][1] == "cannot tell them apart"
        await until(pilot, lambda: screen.item is not None and screen.item.prompt_id.endswith("1"))
        await pilot.press("s", "tab", *"why", "enter")
        await until(pilot, lambda: len(workspace.judging.skips) == 2)
        assert workspace.judging.skips[1][1] == "why"
        await until(pilot, lambda: screen.item is not None and screen.item.prompt_id.endswith("2"))
        await pilot.press("exclamation_mark", "n", *"odd", "enter")
        await until(pilot, lambda: screen.note == "odd")
        assert "! flagged" in shown(app)
        assert "note: odd" in shown(app)
        await pilot.press("a", "b", "c", "d", "enter")
        await to_next(pilot, workspace, 1)
        details = workspace.judging.records[0][2]
        assert details["flagged"]
        assert details["note"] == "odd"
        await pilot.press("u")
        await until(pilot, lambda: "taken back" in shown(app))
        assert screen.flagged
        assert screen.note == "odd"


async def test_zoom_lays_markdown_out() -> None:
    async with opened(fake_workspace()) as (app, pilot):
        screen = await go(app, pilot)
        assert screen.item is not None
        letter = next(
            "abcd"[i] for i, c in enumerate(screen.item.responses) if c.text.startswith("Basil needs")
        )
        await pilot.press(letter, "z")
        await pilot.pause(0.3)
        assert "• a south-facing window" in shown(app)
        await pilot.press("m")
        await pilot.pause()
        assert "- a south-facing window" in shown(app)
        await pilot.press("escape")
        assert app.screen is screen


async def test_nothing_to_rank_says_what_to_do() -> None:
    async with opened(fake_workspace(prompts=0)) as (app, pilot):
        await go(app, pilot)
        await pilot.pause(0.1)
        assert "Nothing to rank yet." in shown(app)
        await pilot.press("i")
        await pilot.pause(0.1)
        assert "Import a file" in shown(app)


async def test_all_judged() -> None:
    workspace = fake_workspace(prompts=1, responses=2)
    async with opened(workspace) as (app, pilot):
        await go(app, pilot)
        await pilot.press("a", "b", "enter")
        await to_next(pilot, workspace, 1)
        assert "Every prompt is judged." in shown(app)


async def test_a_prompt_from_the_list_comes_first() -> None:
    async with opened(fake_workspace()) as (app, pilot):
        await pilot.press("down", "down", "r")
        await until(pilot, lambda: isinstance(app.screen, RankScreen) and app.screen.item is not None)
        assert isinstance(app.screen, RankScreen)
        assert app.screen.item is not None
        assert app.screen.item.prompt_id == f"p{2:016x}"
