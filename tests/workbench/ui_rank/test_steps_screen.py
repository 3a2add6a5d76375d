"""Judging steps by keyboard, on a store in memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import prompts, responses, steps
from tests.workbench.ui_rank.driving import NARROW, WIDE, opened, shown, until
from workbench.screens import steps as steps_module
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


async def test_what_was_judged_survives_a_kill_before_it_is_recorded(tmp_path: Path) -> None:
    """The files as a killed process leaves them, opened elsewhere, while the screen still stands."""
    with Workspace.open(Settings(db=str(tmp_path / "study.duckdb"), annotator="dan")) as workspace:
        ids = fill(workspace, "a\nb\nc", "d\ne\nf")
        async with opened(workspace, WIDE) as (app, pilot):
            app.action_steps()
            await until(pilot, lambda: isinstance(app.screen, StepsScreen) and app.screen.item is not None)
            screen = app.screen
            assert isinstance(screen, StepsScreen)
            assert screen.item is not None
            first = screen.item.response_id
            await pilot.press("s")  # the other one would not come first by itself
            await until(pilot, lambda: screen.item is not None and screen.item.response_id != first)
            begun = screen.item.response_id
            await pilot.press("g", "b")
            await until(
                pilot, lambda: (steps.draft(workspace.store, "dan", begun) or ((), ()))[1] == (1, -1, None)
            )
            (tmp_path / "killed").mkdir()
            for file in tmp_path.glob("study.duckdb*"):
                if file.is_file():
                    shutil.copy(file, tmp_path / "killed" / file.name)
            await pilot.press("n", "enter")
            await until(pilot, lambda: labels(workspace, begun) == (1, -1, 0))
            assert steps.draft(workspace.store, "dan", begun) is None
    assert {begun, first} == set(ids)
    settings = Settings(db=str(tmp_path / "killed" / "study.duckdb"), annotator="dan")
    with Workspace.open(settings) as again:
        assert labels(again, begun) is None
        async with opened(again, WIDE) as (app, pilot):
            app.action_steps()
            await until(pilot, lambda: isinstance(app.screen, StepsScreen) and app.screen.item is not None)
            screen = app.screen
            assert isinstance(screen, StepsScreen)
            assert screen.item is not None
            assert (screen.item.response_id, screen.item.labels) == (begun, (1, -1, None))
            await pilot.press("0", "j", "0")  # nothing is said any more
            await until(pilot, lambda: steps.draft(again.store, "dan", begun) is None)


async def test_a_key_draws_the_lines_that_it_changes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(workspace, "\n".join(f"step {n}" for n in range(40)))
    drawn: list[int] = []
    content = steps_module.step_content
    monkeypatch.setattr(
        steps_module, "step_content", lambda number, *rest: (drawn.append(number), content(number, *rest))[1]
    )
    async with opened(workspace, NARROW) as (app, pilot):
        app.action_steps()
        await until(pilot, lambda: isinstance(app.screen, StepsScreen) and app.screen.item is not None)
        await until(pilot, lambda: len(drawn) == 40)
        for key, lines in (("g", [1]), ("b", [2]), ("j", []), ("n", [4]), ("k", []), ("w", [2, 3, 4])):
            drawn.clear()
            await pilot.press(key)
            await pilot.pause()
            assert drawn == lines, key
