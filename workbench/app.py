"""The shell: which screens there are, their keys, the jobs' heartbeat, errors told, the command palette."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from rich.text import Text
from textual import events, work
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from workbench.garbage import keep_loaded
from workbench.keyboard import DIALOG
from workbench.messages import RankPrompt, RunsMoved, ShowQuery, ShowRun
from workbench.shell import Command, Place, Shell
from workbench.status import read_job, read_status
from workbench.themes import DARK, THEMES
from workbench.widgets.safe import safe_line

if TYPE_CHECKING:
    from pathlib import Path

    from textual.command import Provider

    from workbench.services.workspace import Workspace

SMALLEST = (80, 24)
PULSE_SECONDS = 0.5
PULSES_A_COUNT = 20  # the counts are read anew this often, when anything has been stored


def screen_at(path: str) -> Callable[..., Screen[Any]]:
    """`module:Class` as a factory that imports the module only when the screen is first opened."""
    module, _, name = path.partition(":")

    def make(*args: Any, **kwargs: Any) -> Screen[Any]:
        screen: Screen[Any] = getattr(import_module(module), name)(*args, **kwargs)
        return screen

    return make


PLACES = (
    Place(
        "prompts", "f2", "Prompts", "workbench.screens.prompts:PromptsScreen", "Prompts and their responses"
    ),
    Place(
        "rank",
        "f3",
        "Rank",
        "workbench.screens.rank.screen:RankScreen",
        "Judge responses, one prompt after another",
    ),
    Place("score", "f4", "Score", "workbench.screens.score:ScoreScreen", "Score text as you type"),
    Place(
        "runs",
        "f5",
        "Runs",
        "workbench.screens.runs.screen:RunsScreen",
        "Jobs, their charts and what they made",
    ),
    Place("compare", "f6", "Compare", "workbench.screens.compare:CompareScreen", "Two policies side by side"),
    Place("sql", "f7", "SQL", "workbench.screens.sql.screen:SqlScreen", "Query everything"),
)
HELP = screen_at("workbench.screens.help:HelpScreen")
TOO_SMALL = screen_at("workbench.screens.too_small:TooSmallScreen")
LAUNCH = screen_at("workbench.screens.launch:LaunchScreen")
REPORT = screen_at("workbench.screens.report.screen:ReportScreen")
PROJECT = screen_at("workbench.screens.project:ProjectScreen")
DISAGREEMENTS = screen_at("workbench.screens.disagreements:DisagreementsScreen")
STEPS = screen_at("workbench.screens.steps:StepsScreen")
LEADERBOARD = screen_at("workbench.screens.leaderboard:LeaderboardScreen")
EXPERIMENTS = screen_at("workbench.screens.experiments:ExperimentsScreen")
IMPORT = screen_at("workbench.screens.importing.files:ImportScreen")


def palette() -> type[Provider]:
    """What ctrl+p finds; imported when it is first opened."""
    from workbench.screens.palette import Commands

    return Commands


class WorkbenchApp(Shell):
    """The workbench in a terminal, over an open `Workspace` or a function that opens one.

    The function runs in a thread while Textual starts, so that the first frame waits for neither alone;
    `after_paint` is called once the first frame stands.
    """

    TITLE = "workbench"
    CSS_PATH = "app.tcss"
    PLACES: ClassVar[tuple[Place, ...]] = PLACES
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        place.mode: screen_at(place.path) for place in PLACES
    }
    DEFAULT_MODE = "prompts"
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {palette}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "help", "Keys of this screen"),
        *(Binding(place.key, f"go('{place.mode}')", place.title) for place in PLACES),
        Binding("f8", "launch", "Start a job"),
        Binding("f10,ctrl+q", "quit", "Quit", priority=True),
        Binding("ctrl+z", "suspend_process", "To the shell; fg comes back"),
    ]

    def __init__(
        self,
        workspace: Workspace | Callable[[], Workspace],
        theme: str = "",
        *,
        demo: Literal["whole", "small"] | None = None,
        after_paint: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._demo, self._after_paint = demo, after_paint
        self._opening = workspace if callable(workspace) else lambda: workspace
        self._workspace: Workspace | None = None
        self._is_open = asyncio.Event()
        self._quitting = Event()
        self._painted = False
        for own in THEMES.values():
            self.register_theme(own)
        self.theme = theme if theme in self.available_themes else DARK.name

    # -- the store ------------------------------

    @property
    def log_folder(self) -> Path | None:
        return self._workspace.log_folder if self._workspace is not None else None

    @property
    def workspace(self) -> Workspace:
        """The open workspace.  Screens that may be shown before it is open await `opened` instead."""
        if self._workspace is None:
            raise RuntimeError("the workspace is not open yet")
        return self._workspace

    async def opened(self) -> Workspace:
        """The workspace, as soon as it is open."""
        await self._is_open.wait()
        return self.workspace

    @work
    async def open_workspace(self) -> None:
        """Wait for the store; a store that cannot be opened ends the application with its sentence."""
        try:
            self._workspace = await asyncio.to_thread(self._opening)
        except Exception as error:
            self.exit(return_code=1, message=Text(safe_line(self.explain(error))))
            return
        if keys := getattr(self._workspace.settings, "keys", None):
            self.set_keymap(keys)
        self._is_open.set()

    def on_mount(self) -> None:
        self.open_workspace()

    def first_painted(self) -> None:
        """The first screen's first content stands on the terminal: now start what may take time."""
        if not self._painted:
            self._painted = True
            keep_loaded()
            self.heartbeat()
            if self._after_paint is not None:
                self._after_paint()
            if self._demo:
                self.run_demo()

    def on_unmount(self) -> None:
        self._quitting.set()

    # -- jobs ------------------------------

    @work(thread=True, group="heartbeat", exclusive=True)
    def heartbeat(self) -> None:
        """Pump the jobs twice a second, in a thread of its own, until the application ends."""
        workspace = self.workspace
        pulses, last_fault, counted = 0, "", -1
        while not self._quitting.is_set():
            try:
                if workspace.jobs.pump():
                    self.post_message(RunsMoved())
                if pulses % PULSES_A_COUNT == 0 and workspace.jobs.moves != counted:
                    counted = workspace.jobs.moves
                    self.call_later(self.refresh_status)
                last_fault = ""
            except Exception as error:
                if str(error) != last_fault:
                    last_fault = str(error)
                    self.call_from_thread(self.tell, error)
            pulses += 1
            self._quitting.wait(PULSE_SECONDS)

    @work(thread=True, group="demo", exclusive=True)
    def run_demo(self) -> None:
        """The stages of the demo, one after another, while the person already works."""
        from workbench.demo_watch import watch_demo

        watch_demo(self, self._quitting, small=self._demo == "small")

    def show_demo(self, line: str) -> None:
        self.demo_line = line

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A blinking cursor repaints twice a second: a hundredth of the core that a training wants."""
        if getattr(event.widget, "cursor_blink", False):
            event.widget.cursor_blink = False  # type: ignore[attr-defined]

    def on_runs_moved(self) -> None:
        self.refresh_job()

    @work(exclusive=True, group="job in the header")
    async def refresh_job(self) -> None:
        """The running job anew; the counts, which cost more, follow by themselves."""
        workspace = await self.opened()
        try:
            job = await asyncio.to_thread(read_job, workspace)
            self.status = replace(self.status, job=job)
        except Exception as error:
            self.tell(error)

    @work(exclusive=True, group="status")
    async def refresh_status(self) -> None:
        """Read counts and the running job anew; screens call this after they changed the store."""
        workspace = await self.opened()
        try:
            self.status = await asyncio.to_thread(read_status, workspace)
        except Exception as error:
            self.tell(error)

    # -- going places ------------------------------

    def copy_to_clipboard(self, text: str) -> None:
        """Keep copied text inside the application: no clipboard escape is ever written to the terminal."""
        self._clipboard = text

    def action_go(self, mode: str) -> None:
        if self.current_mode != mode:
            self.switch_mode(mode)

    def action_help(self) -> None:
        """Shows the keys that work here, those of the screen in front first."""
        self.push_screen(HELP(self.screen))

    def action_launch(self, kind: str = "", values: Mapping[str, Any] | None = None) -> None:
        """The form of a job, `values` in its fields; without a kind, the list of jobs first."""
        self.push_screen(LAUNCH(kind or None, values))

    def action_import(self) -> None:
        """Ask for a file and import it."""
        self.push_screen(IMPORT())

    def action_disagreements(self) -> None:
        """The prompts that annotators disagree on, to be adjudicated."""
        self.push_screen(DISAGREEMENTS())

    def action_steps(self) -> None:
        """Steps of responses, judged one by one."""
        self.push_screen(STEPS())

    def action_experiments(self) -> None:
        """Methods, seeds and settings beside each other."""
        self.push_screen(EXPERIMENTS())

    def action_leaderboard(self) -> None:
        """Policies by strength."""
        self.push_screen(LEADERBOARD())

    def action_theme(self, name: str) -> None:
        self.theme = name

    def rank_prompt(self, prompt_id: str) -> None:
        """Go to the rank screen with this prompt first."""
        self._ask_of("rank", RankPrompt(prompt_id))

    def show_query(self, sql: str) -> None:
        """Go to the SQL screen with this query in its editor."""
        self._ask_of("sql", ShowQuery(sql))

    def show_run(self, run_id: str) -> None:
        """Go to the runs, with the cursor on this one as soon as it is listed."""
        self._ask_of("runs", ShowRun(run_id))

    def _ask_of(self, mode: str, message: Message) -> None:
        """Go to the place itself, away from what was opened above it, and give it this message."""
        self.action_go(mode)
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.screen.post_message(message)

    @work(group=DIALOG, exclusive=True)
    async def action_report(self, reward_model: str = "") -> None:
        """The report of a reward model; without a name, the list of them first."""
        from workbench.widgets.choice import ChooseScreen

        workspace = await self.opened()
        names = await asyncio.to_thread(lambda: [model.name for model in workspace.library.reward_models()])
        if not names:
            self.tell("There is no reward model yet: F8 trains one.", severity="information")
            return
        name: str | None = reward_model
        if not name:
            name = await self.push_screen_wait(ChooseScreen("Report of", names[::-1]))
        if name:
            self.push_screen(REPORT(name))

    def action_project(self) -> None:
        self.push_screen(PROJECT())

    def commands(self, screen: Screen[Any]) -> Iterator[Command]:
        """Every capability, for ctrl+p: what this screen can do, the places, the jobs, files, themes."""
        from workbench.screens.palette import of_screen

        yield from of_screen(self, screen)
        for place in PLACES:
            yield Command(place.title, place.purpose, partial(self.action_go, place.mode))
        for kind, title in job_kinds():
            yield Command(title, "Start a job", partial(self.action_launch, kind))
        yield Command("Import a file", "Prompts, ranked responses or pairs", self.action_import)
        yield Command("Project", "Queues of annotators, progress, guidelines", self.action_project)
        yield Command("Disagreements", "Prompts that annotators disagree on", self.action_disagreements)
        yield Command("Steps", "Judge the steps of responses: good, neutral, bad", self.action_steps)
        yield Command("Leaderboard", "Policies by strength, with intervals", self.action_leaderboard)
        yield Command("Experiments", "Methods, seeds and settings beside each other", self.action_experiments)
        yield Command("Report of a reward model", "Beside baselines; where it is wrong", self.action_report)
        for title, theme in THEMES.items():
            yield Command(title, "Colours", partial(self.action_theme, theme.name))
        yield Command("Keys of this screen", "Help", self.action_help)
        yield Command("Quit", "Jobs go on without the workbench", self.action_quit, goes_somewhere=False)

    # -- size ------------------------------

    def on_resize(self, event: events.Resize) -> None:
        """A terminal smaller than 80 × 24 gets a sentence until it has grown."""
        small = event.size.width < SMALLEST[0] or event.size.height < SMALLEST[1]
        shown = self.screen.name == "too_small"
        if small and not shown:
            self.push_screen(TOO_SMALL(name="too_small"))
        elif shown and not small:
            self.pop_screen()


def job_kinds() -> list[tuple[str, str]]:
    """Kind and title of every job of the catalog."""
    from engine.protocol.catalog import JOBS

    return [(kind, job.title) for kind, job in JOBS.items()]
