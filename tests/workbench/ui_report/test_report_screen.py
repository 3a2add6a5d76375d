"""The report screen: sections, the list of mistakes and a pair of it, the SQL behind, help, how it looks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import TextArea

from storage import artifacts, judgements
from storage.measures import benchmarks
from storage.measures.benchmark_records import BenchmarkAbout, BenchmarkItem
from storage.records import JudgedItem, NewJudgement
from storage.store import Store
from tests.sampled import sampled
from tests.workbench.ui_report.stores import MODEL, fill
from tests.workbench.ui_runs.drawn import assert_harmless, drawn
from tests.workbench.ui_runs.fakes import HOSTILE
from tests.workbench.ui_runs.waiting import until as soon
from workbench.app import WorkbenchApp
from workbench.screens.report.pair import PairScreen
from workbench.screens.report.screen import ReportScreen
from workbench.services.workspace import Workspace
from workbench.settings import Settings

SMALL, LARGE = (80, 24), (160, 48)
Go = Callable[[Pilot[Any]], Awaitable[None]]


async def until(pilot: Pilot[Any], condition: Callable[[], Any]) -> None:
    """Wait as long as a loaded machine may take to measure."""
    await soon(pilot, condition, 30.0)


def joined(text: str) -> str:
    """Lines as one, without the frames: sentences are broken anywhere."""
    return " ".join(text.replace("│", " ").split())


def has(app: WorkbenchApp, *words: str) -> Callable[[], bool]:
    """Whether all of these are drawn."""
    return lambda: all(word in joined(drawn(app)) for word in words)


def opened() -> Workspace:
    return Workspace.open(Settings(db=":memory:", annotator="ada"))


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    """Read by most tests and changed by none of them, so that it is measured once."""
    with opened() as made:
        fill(made.store)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(made.reports, "reward", cache(made.reports.reward))
            yield made


async def open_report(pilot: Pilot[Any], name: str = MODEL) -> ReportScreen:
    await pilot.app.run_action(f"report({name!r})")
    await until(pilot, lambda: isinstance(pilot.app.screen, ReportScreen) and pilot.app.screen.report)
    await until(pilot, lambda: "held-out prompts" in drawn(pilot.app))
    screen = pilot.app.screen
    assert isinstance(screen, ReportScreen)
    return screen


async def test_the_numbers_drawn_are_those_of_the_report(workspace: Workspace) -> None:
    app = WorkbenchApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        screen = await open_report(pilot)
        assert screen.report is not None
        figures = screen.report.figures
        await until(pilot, lambda: f"{figures['accuracy'].value:.3f}" in drawn(app))
        first = drawn(app)
        for name in ("accuracy", "longer", "policy", "person", "log_loss"):
            assert f"{figures[name].value:.3f}" in first, name
        for key, words in {
            "2": ("predicted", "mean distance"),
            "3": ("longer is better", "log-odds"),
            "4": ("annotator", "ben", "Kendall"),
            "5": ("pairs", "0.600"),
            "6": ("ppo-concise", "Whiskers"),
            "7": ("sure", "people", "%"),
        }.items():
            await pilot.press(key)
            await until(pilot, has(app, *words))
        await pilot.press("right")
        await until(pilot, lambda: "accuracy, ties" in drawn(app))
        await pilot.press("left", "left")
        await until(pilot, lambda: "ppo-concise" in drawn(app))


async def test_a_wide_terminal_shows_everything_at_once(workspace: Workspace) -> None:
    app = WorkbenchApp(workspace)
    async with app.run_test(size=LARGE) as pilot:
        screen = await open_report(pilot)
        shown = (
            "accuracy, ties",
            "predicted",
            "longer is better",
            "annotator",
            "0.600",
            "Whiskers",
            "sure",
        )
        await until(pilot, has(app, *shown))
        await pilot.press("tab", "tab")
        assert screen.keys[screen.chosen] == "length"


def add_benchmark(store: Store, subset: str = "hard") -> None:
    """Two comparisons: one right, and one wrong where the longer response loses."""
    model = artifacts.reward_model(store, MODEL).reward_model_id
    about = BenchmarkAbout(
        "bench", model, "overall", "overall", "onnx-int8", None, "/b", None, "", None, None, 2, {}
    )
    items = [
        BenchmarkItem(
            f"p{n}", part, "pair", f"line {n}", None, (1, 0, 0), 1, ("y", "z"), size, score, (False,) * 2
        )
        for n, (part, size, score) in enumerate([("easy", (9, 5), (2.0, 1.0)), (subset, (5, 9), (0.0, 1.0))])
    ]
    benchmarks.add(store, about, items, sections={}, seed=0, replicates=20)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
async def test_benchmarks_are_a_section_where_there_are_some(size: tuple[int, int]) -> None:
    with opened() as made:
        fill(made.store)
        add_benchmark(made.store, subset=HOSTILE[0][:40])
        app = WorkbenchApp(made)
        async with app.run_test(size=size) as pilot:
            screen = await open_report(pilot)
            if size == SMALL:
                await until(pilot, lambda: "7 Benchmarks 8 Wrong" in drawn(app))
                await pilot.press("7")
            await until(pilot, has(app, "bench", "it loses", "0.500", "Not shown to be better"))
            assert screen.keys[-2:] == ("benchmarks", "wrong")
            await pilot.press("w")
            await until(pilot, lambda: "sure" in drawn(app))
            await pilot.press("f1")
            await until(pilot, has(app, "Keys"))
            assert_harmless(drawn(app))


async def test_a_wrong_pair_opens_with_one_key_and_the_next_follows(workspace: Workspace) -> None:
    app = WorkbenchApp(workspace)
    async with app.run_test(size=SMALL) as pilot:
        screen = await open_report(pilot)
        report = screen.report
        assert report is not None
        assert len(report.wrong) > 1
        await pilot.press("w")
        await until(pilot, lambda: "sure" in drawn(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PairScreen) and "characters" in drawn(app))
        shown, first = drawn(app), report.wrong[0]
        assert f"score {first.score_better:+.2f}" in shown
        assert f"score {first.score_worse:+.2f}" in shown
        assert "ada" in shown
        assert "← left" in shown
        await pilot.press("]")
        await until(pilot, lambda: f"2 of {len(report.wrong)}" in drawn(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen)


async def test_the_query_behind_a_section_runs_in_the_sql_screen(workspace: Workspace) -> None:
    app = WorkbenchApp(workspace)
    async with app.run_test(size=LARGE) as pilot:
        screen = await open_report(pilot)
        assert screen.report is not None
        await pilot.press("6", "q")
        await until(pilot, lambda: bool(app.screen.query("#editor")))
        area = app.screen.query_one("#editor", TextArea)
        await until(pilot, lambda: f"model_scores('{MODEL}', 'overall')" in area.text)
        await pilot.press("f9")
        await until(pilot, lambda: "3 rows" in drawn(app))
        best = screen.report.policies[0]
        assert best.policy in drawn(app)


async def test_a_query_comes_to_an_sql_screen_that_is_open_already(workspace: Workspace) -> None:
    app = WorkbenchApp(workspace)
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("f7")
        await until(pilot, lambda: bool(app.screen.query("#editor")))
        area = app.screen.query_one("#editor", TextArea)
        await pilot.press("f2")
        await open_report(pilot)
        await pilot.press("7", "q")
        await until(pilot, lambda: "ORDER BY p.probability" in area.text)


async def test_help_explains_each_figure_with_its_query(workspace: Workspace) -> None:
    app = WorkbenchApp(workspace)
    async with app.run_test(size=LARGE) as pilot:
        screen = await open_report(pilot)
        text = joined(screen.explained().plain)
        for words in ("expected calibration error", "the ceiling", "prompt_figures('concise-rm', 'overall')"):
            assert words in text
        await pilot.press("2", "f1")
        await until(pilot, lambda: "Measure on another criterion" in drawn(app))


async def test_another_criterion_and_measuring_again() -> None:
    with opened() as made:
        fill(made.store, prompts=4)
        app = WorkbenchApp(made)
        async with app.run_test(size=SMALL) as pilot:
            screen = await open_report(pilot)
            row = made.store.row(
                "SELECT prompt_id, min(response_id), max(response_id) FROM responses GROUP BY 1"
            )
            assert row is not None
            prompt, x, y = row
            made.store.write("UPDATE run_prompts SET split = 'heldout'")
            items = (JudgedItem(x, 1, None, 0), JudgedItem(y, 2, None, 1))
            judgements.record(made.store, NewJudgement(prompt, "ada", "pair", items, criterion="brief"))
            await pilot.press("r")
            await until(pilot, lambda: screen.report and len(screen.report.criteria) == 2)
            await pilot.press("c")
            await until(pilot, lambda: "Measure on" in drawn(app))
            await pilot.press("down", "enter")
            await until(pilot, lambda: screen.report and screen.report.criterion == "brief")
            await until(pilot, has(app, "with its score for “overall”"))


async def test_a_model_without_scores_says_what_to_do() -> None:
    with opened() as made:
        artifacts.insert(made.store, run_id="r", kind="reward_model", name="fresh", path="/m")
        app = WorkbenchApp(made)
        async with app.run_test(size=SMALL) as pilot:
            await app.run_action("report")
            await until(pilot, lambda: "Report of" in drawn(app))
            await pilot.press("enter")
            await until(pilot, has(app, "workbench score --reward-model fresh"))
            await pilot.press("7")
            await until(pilot, has(app, "fresh has scored no response"))
            await pilot.press("q", "escape")


async def test_without_a_reward_model_it_says_which_key_trains_one() -> None:
    with opened() as made:
        app = WorkbenchApp(made)
        async with app.run_test(size=SMALL) as pilot:
            await app.run_action("report")
            await until(pilot, lambda: "F8 trains one" in "".join(n.message for n in app._notifications))


async def test_a_reward_run_opens_its_report(workspace: Workspace) -> None:
    app = WorkbenchApp(workspace)
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("f5")
        await until(pilot, lambda: "reward-5b2c1d" in drawn(app) and "Report" in drawn(app))
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, ReportScreen) and app.screen.report)


@pytest.mark.parametrize("size", sampled([SMALL, LARGE], SMALL))
async def test_hostile_text_is_harmless_everywhere(size: tuple[int, int]) -> None:
    with opened() as made:
        fill(made.store, prompts=8, hostile=HOSTILE)
        app = WorkbenchApp(made)
        async with app.run_test(size=size) as pilot:
            screen = await open_report(pilot)
            for key in "1234567":
                await pilot.press(key)
                await pilot.pause(0.1)
                assert_harmless(drawn(app))
            await pilot.press("f1")
            await pilot.pause(0.2)
            assert_harmless(drawn(app))
            await pilot.press("escape")
            if screen.report is not None and screen.report.wrong:
                await pilot.press("w", "enter")
                await until(pilot, lambda: "characters" in drawn(app))
                assert_harmless(drawn(app))


async def small_section(pilot: Pilot[Any]) -> None:
    await open_report(pilot)
    await pilot.press("2")
    await until(pilot, lambda: "mean distance" in drawn(pilot.app))
    await pilot.pause(0.3)


async def all_sections(pilot: Pilot[Any]) -> None:
    await open_report(pilot)
    await until(pilot, lambda: "Whiskers" in drawn(pilot.app))
    await pilot.pause(0.3)


@pytest.mark.parametrize(
    ("go", "size"), [(small_section, SMALL), (all_sections, LARGE)], ids=["small", "large"]
)
def test_look(snap_compare: Any, workspace: Workspace, go: Go, size: tuple[int, int]) -> None:
    assert snap_compare(WorkbenchApp(workspace), terminal_size=size, run_before=go)
