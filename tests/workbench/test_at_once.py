"""Every key of every screen, pressed before the screen stands: nothing breaks and nothing ends."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.binding import Binding
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import TextArea

import workbench.screens
import workbench.widgets
from engine.protocol.catalog import JOBS
from engine.protocol.fields import fields
from storage.store import Store
from tests.workbench.ui_rank.driving import opened, until
from tests.workbench.ui_report.stores import MODEL, fill
from workbench.app import WorkbenchApp
from workbench.screens.base import WorkbenchScreen
from workbench.screens.project import FollowScreen
from workbench.screens.rank.asking import AskingScreen
from workbench.screens.rank.live import LiveScreen
from workbench.screens.rank.placing import PlacingScreen
from workbench.screens.rank.reading import ReadingScreen
from workbench.screens.rank.screen import RankScreen
from workbench.screens.report.pair import PairScreen
from workbench.screens.report.screen import ReportScreen
from workbench.screens.runs.actions import RunActions
from workbench.services.demo import DemoTable
from workbench.services.import_draft import ImportOptions
from workbench.services.runs.jobs import Jobs
from workbench.services.sql.result_rows import ResultRows
from workbench.services.workspace import Workspace
from workbench.settings import Settings

RUN = "reward-5b2c1d"
TABLE = DemoTable(
    reward_model="r", policy_before="a", policy_after="b", accuracy=0.7, log_loss=0.6, onnx={},
    score_before=0.1, score_before_error=0.1, score_after=0.2, score_after_error=0.1, difference=0.1,
    difference_error=0.1, kl=1.0, kl_bound=0.2, tokens_before=10.0, tokens_after=11.0, win_rate=None,
    win_low=None, win_high=None, eval_prompts=4,
)  # fmt: skip


def plan_of(workspace: Workspace) -> Any:
    """A file of three prompts, ready to come in."""
    path = workspace.store.runs_root / "prompts.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f'{{"prompt": "What is {n}?"}}\n' for n in range(3)))
    return workspace.importing.propose(path)


ARGUMENTS: dict[str, Callable[[Workspace], tuple[Any, ...]]] = {
    "PromptsScreen": lambda w: (),
    "RankScreen": lambda w: (),
    "ScoreScreen": lambda w: (),
    "StepsScreen": lambda w: (),
    "RunsScreen": lambda w: (),
    "CompareScreen": lambda w: (),
    "SqlScreen": lambda w: (),
    "LaunchScreen": lambda w: (),
    "ReportScreen": lambda w: (MODEL,),
    "PairScreen": lambda w: (w.reports.reward(MODEL, None), 0),
    "RunScreen": lambda w: (RUN,),
    "TokensScreen": lambda w: (RUN, 0),
    "OveroptimisationScreen": lambda w: ((RUN,),),
    "ExperimentsScreen": lambda w: (),
    "RunFileScreen": lambda w: (),
    "ImportScreen": lambda w: (),
    "ImportPlanScreen": lambda w: (plan_of(w), ImportOptions()),
    "ImportOptionsScreen": lambda w: (ImportOptions(),),
    "ImportedScreen": lambda w: (w.importing.run(plan_of(w)),),
    "ProjectScreen": lambda w: (),
    "ApplyScreen": lambda w: (),
    "EditScreen": lambda w: ("",),
    "LeaderboardScreen": lambda w: (),
    "DisagreementsScreen": lambda w: (),
    "TooSmallScreen": lambda w: (),
    "DemoSummaryScreen": lambda w: (TABLE,),
    "SkipScreen": lambda w: (),
    "NoteScreen": lambda w: ("",),
    "PassageScreen": lambda w: ("A", "response", "some text", ()),
    "ZoomScreen": lambda w: ("A", "# text"),
    "DifferenceScreen": lambda w: (["one two", "one three", ""],),
    "SessionScreen": lambda w: (w.judging.session("ada", names=False),),
    "HistoryScreen": lambda w: ((), ()),
    "ValueScreen": lambda w: ("column", "value"),
    "ParametersScreen": lambda w: (["policy"], {}, {"policy": w.sql.offered("policy")}),
    "ChartScreen": lambda w: (ResultRows.of(w.sql.run("SELECT 1 AS n").table), 0),
    "ChooseScreen": lambda w: ("Which", ["a", "b"]),
    "ConfirmScreen": lambda w: ("Really?", "Yes"),
    "AskScreen": lambda w: ("Which?",),
    "SettingSearch": lambda w: (fields(JOBS["ppo"].config),),
}
"""How each screen is made, by its class; HelpScreen is made of the screen below it."""


def all_screens() -> dict[str, type[Screen[Any]]]:
    """Every screen of the application that a person can see."""
    for package in (workbench.screens, workbench.widgets):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)

    def below(kind: type[Screen[Any]]) -> Iterator[type[Screen[Any]]]:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    bases = (
        WorkbenchScreen,
        RunActions,
        LiveScreen,
        ReadingScreen,
        PlacingScreen,
        AskingScreen,
        FollowScreen,
    )
    return {
        kind.__name__: kind
        for kind in below(Screen)
        if kind.__module__.startswith("workbench.") and kind not in bases
    }


SCREENS = all_screens()


def keys_of(kind: type[Screen[Any]]) -> list[str]:
    """The first key of every binding of a screen, and those that a person types into anything."""
    own = [
        binding.key.split(",")[0]
        for cls in kind.__mro__
        if cls.__module__.startswith("workbench.")
        for binding in Binding.make_bindings(cls.__dict__.get("BINDINGS", []))
    ]
    return list(dict.fromkeys([*own, "enter", "escape", "x", "tab", "down", "f1", "f8"]))


def press(app: WorkbenchApp, *keys: str) -> None:
    """As if the keys had come from the terminal all at once."""
    for key in keys:
        event = events.Key(key, key if len(key) == 1 else None)
        event.set_sender(app)
        app.post_message(event)


def filled(runs: Path) -> Workspace:
    """A store in memory with judgements and a reward model; its jobs do nothing."""
    store = Store.open(":memory:", runs_root=runs)
    fill(store)
    made = Workspace(Settings(db=":memory:", annotator="ada"), store)
    made.__dict__["jobs"] = Jobs(store, worker=("true",))
    return made


def test_every_screen_is_tried() -> None:
    assert set(SCREENS) == {*ARGUMENTS, "HelpScreen"}


async def settle(app: WorkbenchApp, pilot: Pilot[None], pushed: Screen[Any]) -> None:
    """Wait until the key has done what it does, then leave whatever it has opened."""
    for _ in range(100):
        await pilot.pause(0.01)
        if app.screen is not pushed or not any(w.node is pushed and w.is_running for w in app.workers):
            break
    while len(app.screen_stack) > 1:
        app.pop_screen()
    app.action_go("prompts")
    await pilot.pause()


async def try_keys(workspace: Workspace, names: list[str], bursts: Callable[[str], list[list[str]]]) -> None:
    """Open each screen anew for each burst of keys, which are there in the same moment as the screen."""
    async with opened(workspace) as (app, pilot):
        for name in names:
            for keys in bursts(name):
                given = (app.screen,) if name == "HelpScreen" else ARGUMENTS[name](workspace)
                more = {"may_show": True} if name == "SessionScreen" else {}
                screen = SCREENS[name](*given, **more)
                app.push_screen(screen)
                press(app, *keys)
                await settle(app, pilot, screen)
                assert app.is_running, (
                    f"{name}: {keys} {app._exception!r} {app._return_value!r} {app.return_code}"
                )


async def test_keys_that_come_before_their_screen_break_nothing(tmp_path: Path) -> None:
    """All keys of a screen at once.  A fault would be told, and fails every test here."""
    with filled(tmp_path) as workspace:
        await try_keys(workspace, sorted(SCREENS), lambda name: [keys_of(SCREENS[name])])


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", sorted(SCREENS))
async def test_each_key_that_comes_before_its_screen_breaks_nothing(name: str, tmp_path: Path) -> None:
    with filled(tmp_path) as workspace:
        await try_keys(workspace, [name], lambda name: [[key] for key in keys_of(SCREENS[name])])


@pytest.mark.parametrize("key", ["ctrl+s", "enter", "ctrl+o"])
async def test_a_job_can_be_started_as_fast_as_one_types(key: str, tmp_path: Path) -> None:
    """The key waits for the form: it is neither lost nor does it end the application."""
    with filled(tmp_path) as workspace:
        async with opened(workspace) as (app, pilot):
            press(app, "f8", key)
            if key == "ctrl+s":
                await until(pilot, lambda: len(workspace.jobs.list()) > 1)
            elif key == "enter":
                await until(pilot, lambda: app.screen.has_class("-in-form"))
            else:
                await until(pilot, lambda: any("no names" in note.message for note in app._notifications))


async def test_a_prompt_is_ranked_from_whatever_stands_above_the_rank_screen(tmp_path: Path) -> None:
    """The pair of a report that was opened there: its J leads down to the place and to this prompt."""
    with filled(tmp_path) as workspace:
        async with opened(workspace) as (app, pilot):
            app.action_go("rank")
            await pilot.pause()
            report = workspace.reports.reward(MODEL, None)
            app.push_screen(ReportScreen(MODEL))
            app.push_screen(PairScreen(report, 0))
            await pilot.pause()
            app.rank_prompt(report.wrong[0].prompt_id)
            rank = app.screen
            assert isinstance(rank, RankScreen)
            await until(
                pilot, lambda: rank.item is not None and rank.item.prompt_id == report.wrong[0].prompt_id
            )


async def test_a_query_goes_to_the_sql_screen_itself(tmp_path: Path) -> None:
    """A report opened above the SQL screen: the query is in the editor, and the editor is seen."""
    with filled(tmp_path) as workspace:
        async with opened(workspace) as (app, pilot):
            app.action_go("sql")
            app.push_screen(ReportScreen(MODEL))
            await pilot.pause()
            app.show_query("SELECT 42")
            await until(
                pilot,
                lambda: (
                    bool(app.screen.query("#editor"))
                    and app.screen.query_one("#editor", TextArea).text == "SELECT 42"
                ),
            )
