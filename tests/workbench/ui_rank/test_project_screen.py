"""A project from the terminal: applied, followed, worked through, looked at, edited, left."""

from __future__ import annotations

from pathlib import Path

from tests.workbench.services.test_projects import FILE, filled, write
from tests.workbench.ui_rank.driving import opened, shown, until
from workbench.screens.project import ApplyScreen, EditScreen, ProjectScreen
from workbench.screens.rank.screen import RankScreen
from workbench.services.workspace import Workspace
from workbench.settings import Settings
from workbench.widgets.choice import ChooseScreen
from workbench.widgets.typed import SafeTextArea


def workspace_of(path: Path) -> Workspace:
    filled(path).close()
    (path / "how.md").write_text("# Prefer the shorter one", encoding="utf-8")
    write(path, FILE + 'guidelines = "how.md"\n')
    return Workspace.open(Settings(db=str(path / "study.duckdb"), annotator="ada"))


async def test_a_project_is_applied_and_worked_through(tmp_path: Path) -> None:
    with workspace_of(tmp_path) as workspace:
        async with opened(workspace) as (app, pilot):
            await pilot.press("f3")
            rank = app.screen
            assert isinstance(rank, RankScreen)
            await until(pilot, lambda: rank.item is not None)
            assert rank.item is not None
            assert rank.item.assignment is None
            await pilot.press("Q", "a")
            await until(pilot, lambda: isinstance(app.screen, ApplyScreen))
            await pilot.press(*"no.toml", "enter")
            await until(pilot, lambda: "cannot be read" in shown(app))
            await pilot.press("ctrl+u", *str(tmp_path / "project.toml"), "enter")
            await until(pilot, lambda: isinstance(app.screen, ProjectScreen) and "0/6" in shown(app))
            await pilot.press("escape")
            await until(pilot, lambda: rank.item is not None and rank.item.assignment is not None)
            await until(pilot, lambda: "6 left" in shown(app) and "study" in shown(app))
            await pilot.press("a", "b", "enter")
            await until(pilot, lambda: "1 done" in shown(app))
            assert workspace.store.rows(
                "SELECT count(*) FROM project_queues WHERE judged_at IS NOT NULL"
            ) == [(1,)]
            await pilot.press("p")
            await until(pilot, lambda: "the project study says how" in shown(app))
            await pilot.press("question_mark")
            await until(pilot, lambda: "Prefer the shorter one" in shown(app))
            await pilot.press("escape", "Q")
            await until(pilot, lambda: "1/6" in shown(app))


async def test_a_project_is_edited_and_left_in_the_terminal(tmp_path: Path) -> None:
    with workspace_of(tmp_path) as workspace:
        workspace.judging.projects.follow_file(tmp_path / "project.toml")
        async with opened(workspace) as (app, pilot):
            await pilot.press("f3", "Q", "e")
            await until(pilot, lambda: isinstance(app.screen, EditScreen))
            area = app.screen.query_one(SafeTextArea)
            area.text = area.text.replace("overlap = 2", "overlap = 3")
            await pilot.press("ctrl+s")
            await until(pilot, lambda: "overlap is 3" in shown(app))
            area.text = area.text.replace("overlap = 3", "overlap = 1")
            await pilot.press("ctrl+s")
            await until(pilot, lambda: isinstance(app.screen, ProjectScreen) and "version 2" in shown(app))
            await pilot.press("c")
            await until(pilot, lambda: isinstance(app.screen, ChooseScreen))
            await pilot.press("down", "enter")
            await until(pilot, lambda: "No project is followed" in shown(app))
            assert workspace.judging.projects.current() is None


async def test_who_has_no_queue_is_told_so(tmp_path: Path) -> None:
    with workspace_of(tmp_path) as workspace:
        workspace.judging.projects.follow_file(tmp_path / "project.toml")
        workspace.settings = Settings(db=workspace.settings.db, annotator="[zoe")
        async with opened(workspace) as (app, pilot):
            await pilot.press("f3")
            await until(pilot, lambda: "[zoe has no queue in the project study" in shown(app))
