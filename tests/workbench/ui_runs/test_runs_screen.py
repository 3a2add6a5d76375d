"""The runs screen, the run on the full screen, stopping and resuming."""

from __future__ import annotations

from typing import Any

from textual.pilot import Pilot
from textual.widgets import OptionList

from storage.records import RunMessage
from tests.workbench.ui_runs.drawn import assert_harmless, drawn
from tests.workbench.ui_runs.fakes import HOSTILE, START, FakeJobs, run, workspace
from tests.workbench.ui_runs.waiting import until
from workbench.app import WorkbenchApp
from workbench.screens.runs.screen import RunsScreen
from workbench.widgets.charts import ChartBoard, MetricChart
from workbench.widgets.run_lines import duration
from workbench.widgets.run_pane import RunPane


async def open_runs(pilot: Pilot[Any]) -> None:
    await pilot.press("f5")
    await until(
        pilot, lambda: bool(pilot.app.screen.query(RunPane)) and pilot.app.screen.query_one(RunPane).run_id
    )


async def test_list_charts_samples_and_details_by_keyboard() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        await until(pilot, lambda: "training 62%" in drawn(app))
        board = app.screen.query_one(ChartBoard)
        assert [chart.display for chart in board.query(MetricChart)].count(True) == 1
        await pilot.press("2")
        await until(pilot, lambda: "KL a response, nats" in drawn(app))
        await pilot.press("right")
        await until(pilot, lambda: "entropy, nats" in drawn(app))
        await pilot.press("s")
        await until(pilot, lambda: "step 15 of 15" in drawn(app))
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: "step 10 of 15" in drawn(app))
        assert "How do I keep basil alive" in drawn(app)
        await pilot.press("d")
        await until(pilot, lambda: "learning rate" in drawn(app))


async def test_the_first_lines_are_as_wide_as_the_list() -> None:
    jobs = FakeJobs()
    jobs.runs = [run("r-0", "reward", "done", "a-name-of-some-thirty-characters")]
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        await pilot.pause()
        assert "a-name-of-some-thirty-characters" in drawn(app)


async def test_a_run_just_started_is_the_one_shown() -> None:
    jobs = FakeJobs()
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        await pilot.press("down")
        jobs.runs.insert(0, run("new-0", "export", "running"))
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        screen.go_to("new-0")
        await until(pilot, lambda: app.screen.query_one(RunPane).run_id == "new-0")
        assert app.screen.query_one(OptionList).highlighted == 0


async def test_a_wide_terminal_shows_all_charts_at_once() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(160, 48)) as pilot:
        await open_runs(pilot)
        await until(pilot, lambda: "clip fraction" in drawn(app))
        for title in ("score", "KL a response", "entropy", "value loss", "length", "share stopped"):
            assert title in drawn(app)
        await pilot.resize_terminal(80, 24)
        board = app.screen.query_one(ChartBoard)
        await until(pilot, lambda: [c.display for c in board.query(MetricChart)].count(True) == 1)


async def test_a_failed_run_says_why_and_shows_the_end_of_its_error_output() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        await pilot.press("end")
        await until(pilot, lambda: "has no tokenizer.json" in drawn(app))
        await pilot.press("d")
        await until(pilot, lambda: "OSError: no tokenizer" in drawn(app))


async def test_stop_asks_first_and_resume_only_where_it_can() -> None:
    jobs = FakeJobs()
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        await pilot.press("R")
        await pilot.press("x")
        await until(pilot, lambda: "Stop ppo-7f3a9c?" in drawn(app))
        await pilot.press("n")
        assert jobs.stopped == []
        await pilot.press("x")
        await until(pilot, lambda: "Stop ppo-7f3a9c?" in drawn(app))
        await pilot.press("y")
        await until(pilot, lambda: jobs.stopped == ["ppo-7f3a9c"])
        assert jobs.resumed == []
        await pilot.press("end")
        await until(pilot, lambda: app.screen.query_one(RunPane).run_id == "generate-99ffee")
        await pilot.press("R")
        await until(pilot, lambda: jobs.resumed == ["generate-99ffee"])


async def test_enter_opens_the_run_and_escape_comes_back_to_the_same_line() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: not app.screen.query(OptionList))
        await until(pilot, lambda: "heldout/accuracy" in drawn(app))
        await pilot.press("escape")
        await until(pilot, lambda: bool(app.screen.query(OptionList)))
        assert app.screen.query_one(OptionList).highlighted == 2


async def test_new_runs_and_progress_arrive_without_moving_the_cursor() -> None:
    jobs = FakeJobs()
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_runs(pilot)
        await pilot.press("down", "down")
        jobs.runs[0].progress = 0.9
        jobs.runs.insert(0, run("score-123456", "score", "queued"))
        await until(pilot, lambda: "training 90%" in drawn(app) and "score-123456" in drawn(app))
        listing = app.screen.query_one(OptionList)
        assert listing.get_option_at_index(listing.highlighted or 0).id == "reward-5b2c1d"


async def test_no_runs_yet_says_what_starts_one() -> None:
    jobs = FakeJobs()
    jobs.runs = []
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f5")
        await until(pilot, lambda: "F8 starts one" in drawn(app))


async def test_hostile_names_reasons_settings_and_samples_are_drawn_as_text() -> None:
    jobs = FakeJobs(texts=HOSTILE)
    for item, text in zip(jobs.runs, HOSTILE, strict=False):
        item.name, item.stage, item.device = text, text, text
        item.reason, item.stderr_tail = text, "\n".join(HOSTILE)
        item.messages = [RunMessage(0, "info", line, START) for line in HOSTILE]
        item.config, item.summary = {key: list(HOSTILE) for key in HOSTILE}, {text: text}
    jobs.runs[1].status = "failed"
    jobs.metric_rows["export-11aa22"] = {text: [(1, 0.5), (2, 0.7)] for text in HOSTILE}
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(160, 48)) as pilot:
        await open_runs(pilot)
        for keys in (("d",), ("s",), ("c",), ("down",), ("d",), ("c",), ("enter",)):
            await pilot.press(*keys)
            await pilot.pause(0.2)
            assert_harmless(drawn(app))
            assert "\x1b]52" not in drawn(app)


async def test_a_run_with_a_hundred_thousand_rows_is_thinned_before_it_is_drawn() -> None:
    jobs = FakeJobs()
    jobs.metric_rows["ppo-7f3a9c"] = {
        name: [(step, float(step % 97)) for step in range(25_000)]
        for name in ("policy/score", "policy/kl", "policy/entropy", "policy/length")
    }
    app = WorkbenchApp(workspace(jobs=jobs))
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.pause()
        await open_runs(pilot)
        await until(pilot, lambda: "entropy" in drawn(app))
        picture = app.screen.query_one(RunPane).picture
        assert picture is not None
        assert all(len(points) <= 400 for points in picture.series.values())


def test_durations_as_a_person_reads_them() -> None:
    shown = [duration(seconds) for seconds in (None, 0.4, 59, 252, 3 * 3600 + 300, 2 * 86400 + 4 * 3600)]
    assert shown == ["", "0s", "59s", "4m12s", "3h05m", "2d04h"]
