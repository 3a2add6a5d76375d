"""Judging steps by keyboard, on a store in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storage import prompts, responses, steps
from tests.workbench.ui_rank.driving import NARROW, WIDE, opened, shown, until
from workbench.screens.steps import StepsScreen
from workbench.services.workspace import Workspace
from workbench.settings import Settings

TEXT = "add one\n\nand [b]two[/b]\nso four"


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with Workspace.open(Settings(db=":memory:", annotator="dan")) as made:
        yield made


def fill(workspace: Workspace, *texts: str) -> list[str]:
    prompt = prompts.add(workspace.store, [{"role": "user", "content": "One and two?"}], source="test")
    return [responses.add(workspace.store, prompt, "base", text) for text in texts]


def labels(workspace: Workspace, response: str) -> tuple[int | None, ...] | None:
    found = steps.standing(workspace.store, "dan", response)
    return None if found is None else found.labels


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_steps_are_judged_and_corrected(workspace: Workspace, size: tuple[int, int]) -> None:
    ids = set(fill(workspace, TEXT, "a\nb\nc\nd"))
    async with opened(workspace, size) as (app, pilot):
        app.action_steps()
        await until(pilot, lambda: isinstance(app.screen, StepsScreen) and app.screen.item is not None)
        screen = app.screen
        assert isinstance(screen, StepsScreen)
        assert screen.item is not None
        first = screen.item.response_id
        second = (ids - {first}).pop()
        await pilot.press("g", "n", "b", "enter")
        await until(pilot, lambda: screen.item is not None and screen.item.response_id != first)
        assert (labels(workspace, first) or ())[:3] == (1, 0, -1)
        assert "1 good, 1 neutral, 1 bad recorded" in shown(app)
        await pilot.press("b", "w", "enter")  # the second is the first wrong one: the one before is good
        await until(pilot, lambda: screen.item is None)
        assert (labels(workspace, second) or ())[:2] == (1, -1)
        await pilot.press("u")
        await until(pilot, lambda: screen.item is not None)
        await pilot.press("j", "0", "enter")
        await until(pilot, lambda: (labels(workspace, second) or ())[:2] == (1, None))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not screen)


async def test_what_is_left_comes_later_and_nothing_is_recorded_of_it(workspace: Workspace) -> None:
    (only,) = fill(workspace, TEXT)
    fill(workspace, "a single line")
    async with opened(workspace, WIDE) as (app, pilot):
        app.action_steps()
        await until(pilot, lambda: isinstance(app.screen, StepsScreen) and app.screen.item is not None)
        assert "[b]two[/b]" in shown(app)
        await pilot.press("enter")
        await until(pilot, lambda: labels(workspace, only) is None)
        await pilot.press("s")
        await until(pilot, lambda: "There is no response of several lines" in shown(app))
    assert labels(workspace, only) is None


async def test_keys_typed_ahead_meet_what_they_were_meant_for(workspace: Workspace) -> None:
    ids = set(fill(workspace, "a\nb", "c\nd"))
    async with opened(workspace, WIDE) as (app, pilot):
        app.action_steps()
        await pilot.press(*"gg", "enter", *"bb", "enter")
        await until(pilot, lambda: isinstance(app.screen, StepsScreen) and app.screen.item is None)
    assert sorted(labels(workspace, one) or () for one in ids) == [(-1, -1), (1, 1)]
