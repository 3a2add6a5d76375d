"""The palette finds what its words say, and never guesses what changes something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.fuzzy import Matcher

from tests.workbench.ui_rank.driving import opened, until
from tests.workbench.ui_rank.fakes import fake_workspace
from workbench.screens.palette import Command, strength
from workbench.screens.rank.screen import RankScreen

UNDO = Command("Take the last judgement back and show it again", "", print, goes_somewhere=False)
THEME = Command("Theme: dark", "Dark colours", print)


def score(query: str, command: Command) -> float:
    return strength(query, command, Matcher(query).match(command.title) if query else 0.0)


@pytest.mark.parametrize("typed", ["t", "th", "the", "them", "theme", "theme d", "dark", "colours"])
def test_a_theme_is_found_before_the_judgement_is_taken_back(typed: str) -> None:
    assert score(typed, THEME) > score(typed, UNDO)


@pytest.mark.parametrize("typed", ["last judgement", "take", "back", "judg"])
def test_what_changes_something_is_found_by_its_words(typed: str) -> None:
    assert score(typed, UNDO) > score(typed, THEME)


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz ", max_size=12))
def test_what_changes_something_is_never_guessed(typed: str) -> None:
    words = UNDO.title.casefold().split()
    meant = typed.split() and all(any(w.startswith(part) for w in words) for part in typed.split())
    assert (score(typed, UNDO) > 0) == bool(meant)
    assert 0 <= score(typed, THEME) <= 1


async def test_typing_theme_changes_the_theme_and_no_judgement() -> None:
    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        await pilot.press("f3")
        screen = app.screen
        assert isinstance(screen, RankScreen)
        await until(pilot, lambda: screen.item is not None)
        await pilot.press("a", "b", "c", "d", "enter")
        await until(pilot, lambda: len(workspace.judging.records) == 1)
        app.action_theme("workbench-light")
        await pilot.press("ctrl+p", *"theme")
        await until(pilot, lambda: app.screen.query("CommandList").first().option_count > 0)  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, lambda: app.theme == "workbench")
        assert len(workspace.judging.records) == 1
