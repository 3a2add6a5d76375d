"""The shell and the home screen: finding prompts, reading, importing, help, sizes, errors."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from storage.errors import StoreError
from tests.workbench.ui_rank.driving import NARROW, WIDE, opened, shown, until
from tests.workbench.ui_rank.fakes import fake_workspace
from workbench.app import WorkbenchApp
from workbench.screens.prompts import PromptsScreen
from workbench.widgets.row_list import RowList


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_home_shows_prompts_counts_and_responses(size: tuple[int, int]) -> None:
    async with opened(fake_workspace(), size) as (app, pilot):
        await until(pilot, lambda: "concise-rm" in shown(app))
        text = shown(app)
        assert "6 prompts · 24 responses · 0 judged" in text
        assert "no job running" in text
        assert "Explain to a ten-year-old why the sky is blue." in text
        assert "smollm2  40 tokens · concise-rm -0.40" in text


async def test_a_large_store_is_read_in_pages() -> None:
    workspace = fake_workspace(prompts=10_000)
    asked: list[tuple[int, int]] = []
    prompts = workspace.library.prompts

    def counting(search: str = "", *, limit: int = 500, **where: Any) -> Any:
        asked.append((where.get("offset", 0), limit))
        return prompts(search, limit=limit, **where)

    workspace.library.prompts = counting
    async with opened(workspace) as (app, pilot):
        await until(pilot, lambda: "Prompts · 10,000" in shown(app))
        await pilot.press("end")
        await until(pilot, lambda: "(9999)" in shown(app))
        assert len(asked) <= 3
        assert max(limit for _, limit in asked) <= 500
        await pilot.press("home", "pagedown")
        await until(pilot, lambda: "Explain to a ten-year-old" in shown(app))


async def test_search_and_back() -> None:
    async with opened(fake_workspace()) as (app, pilot):
        await pilot.press("slash", *"hamlet")
        await until(pilot, lambda: app.screen.query_one(RowList).count == 1)
        await pilot.press("enter")
        assert isinstance(app.focused, RowList)
        await pilot.press("slash", *"zzz")
        await until(pilot, lambda: "No prompt contains" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen.query_one(RowList).count == 6)


async def test_enter_reads_and_escape_returns() -> None:
    async with opened(fake_workspace()) as (app, pilot):
        await pilot.press("enter")
        assert app.focused is not None
        assert app.focused.id == "detail"
        await pilot.press("escape")
        assert isinstance(app.focused, RowList)


@pytest.mark.parametrize("later", [6, 60])
async def test_columns_stand_over_their_numbers_when_prompts_come_later(later: int) -> None:
    """A list that is empty at first is hidden and has no width; many rows bring a scroll bar."""

    def columns(app: WorkbenchApp) -> str:
        return next((line for line in shown(app).splitlines() if "judged │" in line), "")

    filled = fake_workspace(later)
    expected = WorkbenchApp(filled)
    async with expected.run_test(size=(100, 24)) as pilot:
        await until(pilot, lambda: "answers judged" in columns(expected))
        heading = columns(expected)
    empty = fake_workspace(0)
    app = WorkbenchApp(empty)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "No prompts yet." in shown(app))
        await pilot.resize_terminal(100, 24)
        empty.library.size = later
        assert isinstance(app.screen, PromptsScreen)
        app.screen.reload()
        await until(pilot, lambda: "why the sky is blue" in shown(app))
        await pilot.pause()
        assert columns(app) == heading


async def test_an_empty_store_says_what_to_do() -> None:
    async with opened(fake_workspace(prompts=0)) as (app, pilot):
        await until(pilot, lambda: "No prompts yet." in shown(app))


async def test_import_tells_errors() -> None:
    workspace = fake_workspace()
    workspace.library.import_error = StoreError("There is no file /nowhere.jsonl.")
    async with opened(workspace) as (app, pilot):
        await pilot.press("i", "enter")
        await until(pilot, lambda: "Type the path of a file first" in shown(app))
        await pilot.press(*"/nowhere.jsonl", "enter")
        await until(pilot, lambda: "There is no file /nowhere.jsonl." in shown(app))


async def test_help_is_made_from_the_bindings() -> None:
    async with opened(fake_workspace(), WIDE) as (app, pilot):
        await pilot.press("f1")
        await pilot.pause()
        text = shown(app)
        for line in ("r  Rank the responses to this prompt", "F3  Rank", "/  Search the prompts", "The loop"):
            assert line in text
        await pilot.press("escape", "f3")
        await until(pilot, lambda: "done" in shown(app))
        await pilot.press("f1")
        await pilot.pause()
        assert "a … d  Place A … D" in shown(app)
        assert "1 … 9  Put at rank 1 … 9" in shown(app)


async def test_a_small_terminal_gets_a_sentence_and_recovers() -> None:
    async with opened(fake_workspace()) as (app, pilot):
        await pilot.resize_terminal(79, 24)
        await until(pilot, lambda: "needs 80 × 24 characters; this terminal has 79 × 24" in shown(app))
        await pilot.resize_terminal(40, 8)
        await until(pilot, lambda: "40 × 8" in shown(app))
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "Explain to a ten-year-old" in shown(app))


async def test_a_store_that_cannot_be_opened_ends_with_its_sentence() -> None:
    def refuse() -> Any:
        raise StoreError("The database is held by process 42.")

    app = WorkbenchApp(refuse)
    async with app.run_test() as pilot:
        await pilot.pause(0.2)
    assert app.return_code == 1


async def test_a_slow_service_does_not_block_the_screen() -> None:
    workspace = fake_workspace()
    release = threading.Event()
    responses = workspace.library.responses

    def slow(prompt_id: str) -> Any:
        release.wait(5)
        return responses(prompt_id)

    workspace.library.responses = slow
    try:
        async with opened(workspace) as (app, pilot):
            await pilot.press("down", "down")
            assert app.screen.query_one(RowList).cursor == 2
            release.set()
            await until(pilot, lambda: "concise-rm" in shown(app))
    finally:
        release.set()


async def test_the_running_job_stands_in_the_header() -> None:
    workspace = fake_workspace()
    run = SimpleNamespace(run_id="ppo-7f3a9c", status="running", stage="rollout", progress=0.43)
    workspace.jobs.runs = [run, SimpleNamespace(run_id="x", status="queued", stage=None, progress=None)]
    async with opened(workspace) as (app, pilot):
        await until(pilot, lambda: "ppo-7f3a9c rollout" in shown(app))
        assert " 43% +1" in shown(app)
        assert all(len(line) <= 80 for line in shown(app).splitlines())


async def test_errors_are_told_as_text() -> None:
    async with opened(fake_workspace()) as (app, pilot):
        app.tell(StoreError("The file [/x] is \x1b]52;c;aGk=\x07 broken."))
        await until(pilot, lambda: "The file [/x] is ␛]52;c;aGk=␇ broken." in shown(app))


async def test_every_capability_is_in_the_palette() -> None:
    async with opened(fake_workspace()) as (app, pilot):
        titles = {command.title for command in app.commands(app.screen)}
        assert {"Rank", "SQL", "Import a file", "Search the prompts", "Theme: dark", "Quit"} <= titles
        assert len(titles) > 15
        app.action_theme("workbench-light")
        await pilot.pause()
        assert app.theme == "workbench-light"


async def test_copied_text_stays_inside() -> None:
    async with opened(fake_workspace()) as (app, _pilot):
        app.copy_to_clipboard("x")
        assert app.clipboard == "x"


async def test_new_responses_appear_by_themselves() -> None:
    workspace = fake_workspace(responses=2)
    async with opened(workspace) as (app, pilot):
        await until(pilot, lambda: "2 responses" in shown(app))
        workspace.library.samples = 4
        app.refresh_status()
        await until(pilot, lambda: "4 responses" in shown(app))


async def test_the_line_of_the_demo() -> None:
    async with opened(fake_workspace(), WIDE) as (app, pilot):
        app.show_demo("demo 4/8 training the reward model 43%")
        await until(pilot, lambda: "demo 4/8 training the reward model 43%" in shown(app))
        await pilot.press("f3")
        await until(pilot, lambda: "done" in shown(app) and "demo 4/8" in shown(app))
