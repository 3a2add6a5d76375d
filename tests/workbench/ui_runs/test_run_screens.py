"""Runs over each other, the lens of the charts, the step slider, tokens, formula, over-optimisation."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from storage.rollouts import OptimisationPoint
from tests.workbench.ui_runs.drawn import assert_harmless, drawn
from tests.workbench.ui_runs.fakes import HOSTILE, FakeJobs, FakePolicyLearning, ppo_metrics, run, workspace
from tests.workbench.ui_runs.test_runs_screen import open_runs
from tests.workbench.ui_runs.waiting import until
from workbench.app import WorkbenchApp
from workbench.screens.runs.overoptimisation import OveroptimisationScreen
from workbench.screens.runs.token_trace import QUANTITIES, TokenTable, TraceHeat
from workbench.screens.runs.tokens import TokensScreen
from workbench.services.overoptimisation.fits import Fit
from workbench.services.overoptimisation.ways import way
from workbench.widgets.charts import ChartBoard
from workbench.widgets.run_pane import RunPane
from workbench.widgets.run_samples import SamplesView
from workbench.widgets.series import SMOOTHINGS


def two_runs() -> FakeJobs:
    jobs = FakeJobs()
    jobs.runs.insert(1, run("ppo-second", "ppo", "done", "second-ppo"))
    jobs.metric_rows["ppo-second"] = ppo_metrics(20)
    return jobs


async def test_marked_runs_are_drawn_over_the_one_shown() -> None:
    app = WorkbenchApp(workspace(jobs=two_runs()))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        await pilot.press("down", "space", "up")
        await until(pilot, lambda: "● concise-ppo" in drawn(app) and "▲ second-ppo" in drawn(app))
        assert "✓▲second-ppo" in drawn(app)
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.__class__.__name__ == "RunScreen")
        await until(pilot, lambda: "▲ second-ppo" in drawn(app))
        await pilot.press("escape", "u")
        await until(pilot, lambda: "▲" not in drawn(app))


async def test_zoom_pan_and_smoothing() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        board = app.screen.query_one(ChartBoard)
        await pilot.press("plus")
        await until(pilot, lambda: "steps 10–29" in drawn(app))
        await pilot.press(">")
        assert board.lens.low > 0.25
        await pilot.press("minus")
        await pilot.press("0")
        assert board.lens.whole
        for weight in (*SMOOTHINGS[1:], 0.0):
            told = f"smoothed {weight:g}"
            await pilot.press("e")
            assert board.lens.smoothing == weight
            await until(
                pilot, partial(lambda told: ("smoothed" not in drawn(app)) or told in drawn(app), told)
            )


async def test_each_step_stands_beside_the_step_before_or_the_first() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        await pilot.press("enter", "s")
        await until(pilot, lambda: "step 15 of 15" in drawn(app))
        await until(pilot, lambda: "step 10, score" in drawn(app))
        block = app.screen.query("SampleBlock").first(Static)
        styles = {str(span.style) for span in block.visual.spans}  # type: ignore[attr-defined]
        assert any("strike" in style for style in styles)
        assert any("success" in style for style in styles)
        await pilot.press("b")
        await until(pilot, lambda: "step 5, score" in drawn(app))
        await pilot.press("b")
        await until(pilot, lambda: "score" in drawn(app) and "step 5, score" not in drawn(app))
        await pilot.press("left_curly_bracket")
        await until(pilot, lambda: "step 5 of 15" in drawn(app))
        view = app.screen.query_one(SamplesView)
        await pilot.press("down", "j", "k", "j")
        assert view.here == 2
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: "step 10 of 15" in drawn(app))
        assert view.here == 2


async def open_tokens(pilot: Pilot[Any]) -> TokensScreen:
    await open_runs(pilot)
    await pilot.press("s")
    await until(pilot, lambda: "step 15 of 15" in drawn(pilot.app))
    await pilot.press("t")
    await until(pilot, lambda: isinstance(pilot.app.screen, TokensScreen) and pilot.app.screen.trace)
    screen = pilot.app.screen
    assert isinstance(screen, TokensScreen)
    return screen


async def test_table_and_heat_lines_move_together() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_tokens(pilot)
        await until(pilot, lambda: "Water·it" in drawn(app))
        table, heat = screen.query_one(TokenTable), screen.query_one(TraceHeat)
        await pilot.press("down", "down", "right")
        assert (table.current.position, heat._position) == (2, 2)  # type: ignore[union-attr]
        await until(pilot, lambda: QUANTITIES[1].meaning.split(",")[0][:20] in drawn(app))
        await pilot.press("tab")
        assert heat.has_focus
        await pilot.press("right", "down")
        await until(pilot, lambda: heat._position == 3 and table.column == 2)
        assert table.current is not None
        assert table.current.position == 3
        assert len([line for line in heat.query(Static) if line.display]) == 1
        await pilot.resize_terminal(160, 48)
        await until(pilot, lambda: len([line for line in heat.query(Static) if line.display]) == 8)


async def test_columns_sort_down_up_and_as_in_the_text() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_tokens(pilot)
        table = screen.query_one(TokenTable)
        numbers = [trace.logprob or 0.0 for trace in table.tokens]
        for order in (sorted(numbers, reverse=True), sorted(numbers), numbers):
            here = table.current
            await pilot.press("o")
            assert [table.row(i).logprob for i in range(table.count)] == order  # type: ignore[union-attr]
            assert table.current is here
        await pilot.press("enter")
        assert table.order == (0, True)


async def test_responses_and_traced_steps_are_gone_through() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_tokens(pilot)
        await pilot.press("j")
        await until(pilot, lambda: "response 2 of 2" in drawn(app))
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: screen.trace is not None and screen.trace.step == 5)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, TokensScreen))


async def test_a_step_without_traces_says_which_have_them_and_how_to_get_them() -> None:
    filled = workspace()
    learning: FakePolicyLearning = filled.policy_learning
    learning.traced_steps = [5]
    app = WorkbenchApp(filled)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        await pilot.press("s")
        await until(pilot, lambda: "step 15 of 15" in drawn(app))
        await pilot.press("t")
        await until(pilot, lambda: "Step 15 has no token traces; step 5 has" in drawn(app))
        assert "trace_every 1" in drawn(app)
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: "Water·it" in drawn(app))


async def test_the_formula_has_the_numbers_of_the_run_and_follows_them() -> None:
    jobs = FakeJobs()
    jobs.metric_rows["ppo-7f3a9c"]["policy/policy_loss"] = [(39, -0.25)]
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        await pilot.press("f")
        await until(pilot, lambda: "L = L_π + c·L_V" in drawn(app) and "−0.25" in drawn(app))
        jobs.metric_rows["ppo-7f3a9c"]["policy/policy_loss"] = [(40, -0.125)]
        await until(pilot, lambda: "PPO at step 40" in drawn(app) and "−0.125" in drawn(app))
        await pilot.press("down", "f")
        await until(pilot, lambda: "optimises nothing" in drawn(app))


async def test_pause_rests_a_run_and_takes_it_up() -> None:
    jobs = FakeJobs()
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        await pilot.press("z")
        await until(pilot, lambda: jobs.paused == ["ppo-7f3a9c"])
        jobs.runs[0] = run("ppo-7f3a9c", "ppo", "paused", "concise-ppo")
        await until(pilot, lambda: "Paused; z or R" in drawn(app))
        await pilot.press("z")
        await until(pilot, lambda: jobs.resumed == ["ppo-7f3a9c"])


def learned(name: str = "concise-ppo", points: int = 12, *, gold: bool = True) -> Any:
    truth = Fit("policy learning", 1.0, 0.5, 0.2, points, 0.0)
    proxy = Fit("policy learning", 1.0, 0.05, 0.1, points, 0.0)
    measured = [
        OptimisationPoint(
            "ppo-7f3a9c", "ppo", "policy learning", n, (0.5 * n) ** 2, 0.5 * n, proxy.at(0.5 * n),
            truth.at(0.5 * n) if gold else None,
        )
        for n in range(points)
    ]  # fmt: skip
    return way("ppo-7f3a9c", name, measured)


def best_of_n() -> Any:
    truth = Fit("best of n", 1.1, 0.2, 0.1, 0, 0.0)
    ds = {n: math.sqrt(math.log(n) - (n - 1) / n) for n in (1, 2, 4, 8, 16)}
    measured = [
        OptimisationPoint("bon-1", "best_of_n", "best of n", n, d * d, d, truth.at(d), None)
        for n, d in ds.items()
    ]
    return way("bon-1", "bon", measured)


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_proxy_gold_and_best_of_n_on_the_same_axes(size: tuple[int, int]) -> None:
    app = WorkbenchApp(workspace(ways=[learned(), best_of_n()]))
    async with app.run_test(size=size) as pilot:
        await open_runs(pilot)
        await pilot.press("g")
        await until(pilot, lambda: isinstance(app.screen, OveroptimisationScreen) and "◎" in drawn(app))
        peak = math.exp(1.0 / 0.5 - 1)
        await until(pilot, lambda: f"gold peaks at √KL {peak:.3f}" in drawn(app))
        for label in ("● concise-ppo, proxy", "▲ concise-ppo, gold", "■ bon, proxy"):
            assert label in drawn(app)
        if size == (160, 48):
            assert "0.500" in drawn(app)
        await pilot.press("p", "b")
        await until(pilot, lambda: "proxy" not in drawn(app).replace("Proxy", ""))
        assert "▲ concise-ppo, gold" in drawn(app)
        await pilot.press("r", "t", "escape")
        await until(pilot, lambda: not isinstance(app.screen, OveroptimisationScreen))


async def test_a_run_without_a_gold_scorer_says_how_to_have_one() -> None:
    app = WorkbenchApp(workspace(ways=[learned(gold=False)]))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        await pilot.press("g")
        await until(pilot, lambda: "No held-out scorer watched these runs" in drawn(app))


async def test_hostile_text_is_drawn_as_text_on_every_screen_of_a_run() -> None:
    jobs = FakeJobs(texts=HOSTILE)
    jobs.runs[0].name = HOSTILE[0]
    app = WorkbenchApp(workspace(jobs=jobs, ways=[learned(HOSTILE[0])]))
    async with app.run_test(size=(160, 48)) as pilot:
        await open_runs(pilot)
        for keys in (("s",), ("b",), ("f",), ("t",), ("down", "down"), ("tab", "right"), ("escape",), ("g",)):
            await pilot.press(*keys)
            await pilot.pause(0.3)
            assert_harmless(drawn(app))
            assert "\x1b]52" not in drawn(app)


async def test_another_run_keeps_the_view_it_can_show() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        await pilot.press("s")
        await until(pilot, lambda: "step 15 of 15" in drawn(app))
        await pilot.press("down")
        pane = app.screen.query_one(RunPane)
        await until(pilot, lambda: pane.run_id == "export-11aa22" and pane.view == "details")
