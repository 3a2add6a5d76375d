"""Adjudicating by keyboard, and the leaderboard, on a store in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storage.measures import labels as stored
from tests.workbench.services.labels.test_labels import fill
from tests.workbench.services.labels.test_leaderboard import compete
from tests.workbench.ui_rank.driving import NARROW, WIDE, opened, shown, until
from workbench.screens.disagreements import DisagreementsScreen
from workbench.screens.leaderboard import LeaderboardScreen
from workbench.services.workspace import Workspace
from workbench.settings import Settings
from workbench.widgets.row_list import RowList


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with Workspace.open(Settings(db=":memory:", annotator="dan")) as made:
        yield made


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_the_worst_prompt_is_adjudicated(workspace: Workspace, size: tuple[int, int]) -> None:
    fill(workspace, prompts=6)
    async with opened(workspace, size) as (app, pilot):
        app.action_disagreements()
        await until(
            pilot, lambda: isinstance(app.screen, DisagreementsScreen) and app.screen.dispute is not None
        )
        screen = app.screen
        assert isinstance(screen, DisagreementsScreen)
        text = shown(app)
        assert "6 prompts with contradictions, 6 not adjudicated" in text
        assert "consensus" in text
        assert "A > B > C" in text
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is not screen)
        await pilot.press("home", "enter")
        await until(pilot, lambda: "5 not adjudicated" in shown(app))
        assert screen.query_one(RowList).count == 6
    assert stored.count_disagreements(workspace.store, "overall") == (6, 5)


async def test_without_contradictions_a_sentence_says_so(workspace: Workspace) -> None:
    async with opened(workspace, WIDE) as (app, pilot):
        app.action_disagreements()
        await until(pilot, lambda: "Nobody contradicts anybody" in shown(app))
        await pilot.press("enter", "escape")
        await until(pilot, lambda: not isinstance(app.screen, DisagreementsScreen))


async def test_the_leaderboard_shows_intervals_and_who_beat_whom(workspace: Workspace) -> None:
    compete(workspace, 8)
    async with opened(workspace, WIDE) as (app, pilot):
        app.action_leaderboard()
        await until(pilot, lambda: isinstance(app.screen, LeaderboardScreen) and "100% (8)" in shown(app))
        assert "16 pairs on 8 prompts" in shown(app)
        assert "That is little" in shown(app)
        assert "At equal length" in shown(app)
        await pilot.press("l")
        await until(pilot, lambda: "At equal length" not in shown(app) and "100% (8)" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, LeaderboardScreen))
