"""Comparing two policies by keyboard."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from types import SimpleNamespace

import pytest
from textual.pilot import Pilot

from storage.records import PolicyRow
from tests.workbench.ui_rank.driving import NARROW, WIDE, opened, shown, until
from tests.workbench.ui_rank.fakes import fake_workspace
from workbench.app import WorkbenchApp
from workbench.screens.compare import CompareScreen, proposal
from workbench.widgets.row_list import RowList


async def go(app: WorkbenchApp, pilot: Pilot[None], items: int) -> CompareScreen:
    await pilot.press("f6")
    await until(pilot, lambda: isinstance(app.screen, CompareScreen) and len(app.screen.items) == items)
    assert isinstance(app.screen, CompareScreen)
    return app.screen


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_rate_and_both_responses(size: tuple[int, int]) -> None:
    async with opened(fake_workspace(), size) as (app, pilot):
        await go(app, pilot, 6)
        text = shown(app)
        assert "A other   B import   judged by concise-rm" in text
        assert "A wins 50% (95%: 30–70%)" in text
        assert "pairs: 2 won · 2 tied · 2 lost" in text
        assert "score -0.30 · 61 tokens" in text
        assert "Buy a new one every month." in text


async def test_choosing_swapping_and_filtering() -> None:
    async with opened(fake_workspace(prompts=250)) as (app, pilot):
        screen = await go(app, pilot, 250)
        await pilot.press("a", "home", "enter")
        await until(pilot, lambda: screen.question.a == "smollm2" and len(screen.items) == 250)
        await pilot.press("x")
        await until(pilot, lambda: screen.question.b == "smollm2" and len(screen.items) == 250)
        await pilot.press("j", "end", "enter")
        await until(pilot, lambda: screen.question.judge == "people" and len(screen.items) == 250)
        rows = screen.query_one(RowList)
        for outcome in ("win", "loss", "tie"):
            await pilot.press("f")
            expected = sum(item.outcome == outcome for item in screen.items)
            await until(pilot, partial(lambda count: rows.count == count, expected))
            assert rows.current.outcome == outcome
        await pilot.press("f")
        await until(pilot, lambda: rows.count == 250)
        await pilot.press("end")
        assert rows.cursor == 249


async def test_policies_that_come_later_are_offered() -> None:
    workspace = fake_workspace()
    async with opened(workspace) as (app, pilot):
        screen = await go(app, pilot, 6)
        await pilot.press("f2")
        row = SimpleNamespace(**{**vars(workspace.library.policies()[0]), "name": "newcomer"})
        before = workspace.library.policies()
        workspace.library.policies = lambda: [*before, row]
        await pilot.press("f6")
        await until(pilot, lambda: "newcomer" in screen._policies)
        await pilot.press("a")
        await until(pilot, lambda: "newcomer" in shown(app))


async def test_an_empty_filter_says_so() -> None:
    async with opened(fake_workspace(prompts=1)) as (app, pilot):
        screen = await go(app, pilot, 1)
        outcome = screen.items[0].outcome
        await pilot.press(*("f" for _ in range(2 if outcome == "win" else 1)))
        await until(pilot, lambda: "No prompt here" in shown(app))


def test_the_trained_policy_is_proposed_against_its_parent() -> None:
    def row(name: str, parent: str | None = None) -> PolicyRow:
        return PolicyRow(name, name, None, parent, None, 5, datetime(2026, 1, 1))

    assert proposal([row("base"), row("tuned", "base"), row("a"), row("b")]) == ("tuned", "base")
    assert proposal([row("base"), row("a"), row("b")]) == ("b", "a")


async def test_a_policy_is_not_compared_with_itself() -> None:
    async with opened(fake_workspace()) as (app, pilot):
        screen = await go(app, pilot, 6)
        before = screen.question
        await pilot.press("b", "end", "enter")
        await until(pilot, lambda: "the same policy" in shown(app))
        assert screen.question == before


async def test_too_few_policies_says_what_to_do() -> None:
    async with opened(fake_workspace(responses=1)) as (app, pilot):
        await pilot.press("f6")
        await until(pilot, lambda: "Comparing needs two policies" in shown(app))
