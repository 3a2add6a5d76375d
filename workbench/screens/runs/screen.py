"""F5: every run, and the chosen one live beside or below the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from workbench.messages import ShowRun
from workbench.screens.base import told
from workbench.screens.runs.actions import RunActions
from workbench.widgets.charts import MOST_RUNS
from workbench.widgets.plot import COLOURS, SHAPES
from workbench.widgets.run_lines import clock, run_line
from workbench.widgets.run_pane import RunPane, read_run

if TYPE_CHECKING:
    from storage.records import RunRow


SHOWN_RUNS = 500
NO_RUNS = "No runs yet.\n\nF8 starts one: generate responses, train a reward model, optimise a policy."


class RunList(OptionList):
    """The list's lines are cut to its width, which is known only once it is shown."""

    def on_resize(self) -> None:
        screen = self.screen
        if isinstance(screen, RunsScreen):
            screen.redraw()


class RunsScreen(RunActions):
    """List of runs and the run under the cursor."""

    TITLE_TEXT = "Runs"
    LOOP = "Jobs that generate, train and export, with their charts as they run."
    CSS_PATH = "screen.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (130, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "open", "Full screen", key_display="⏎"),
        *RunActions.RUN_BINDINGS,
        Binding("n", "app.launch", "New job"),
        Binding("space", "mark", "Draw over the others"),
        Binding("u", "unmark", "Unmark all", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._runs: list[RunRow] = []
        self._lines: dict[str, Content] = {}
        self._wanted: str | None = None
        self._coming: str | None = None  # a run to go to, until the list holds it
        self._marked: tuple[str, ...] = ()

    def compose_body(self) -> ComposeResult:
        with Container(id="runs"):
            runs = RunList(id="run-list", classes="pane", markup=False)
            runs.border_title = "Runs"
            yield runs
            yield RunPane(id="run-pane", classes="pane")
            yield Static(NO_RUNS, id="no-runs", classes="empty", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#runs").add_class("-nothing")

    def redraw(self) -> None:
        """The same runs, as wide as the list is now."""
        if self._runs:
            self.show_runs(self._runs)

    @property
    def run_id(self) -> str | None:
        """The run under the cursor."""
        return self._wanted

    @property
    def marked(self) -> tuple[str, ...]:
        return self._marked

    def on_show_run(self, message: ShowRun) -> None:
        self.go_to(message.run_id)

    def go_to(self, run_id: str) -> None:
        """Put the cursor on a run, at once or as soon as it is listed."""
        self._coming = run_id
        if self.is_mounted:
            self._place_cursor()
            self.refresh_now()

    @told
    async def poll(self) -> None:
        """Read the list; it is redrawn line by line, so the cursor stays where it is."""
        self.show_runs(await self.ask(lambda workspace: workspace.jobs.list()))
        await super().poll()

    def show_runs(self, runs: list[RunRow]) -> None:
        """Draw the list of runs, newest first as the service gives them."""
        self._runs = runs[:SHOWN_RUNS]
        self.query_one("#runs").set_class(not runs, "-nothing")
        listing = self.query_one(OptionList)
        width = max(40, listing.scrollable_content_region.width - 1)
        now = clock()
        lines = {run.run_id: run_line(run, now, width, self._shape(run.run_id)) for run in self._runs}
        if list(lines) != list(self._lines):
            listing.set_options([Option(line, id=run_id) for run_id, line in lines.items()])
            self._lines = lines
            self._place_cursor()
        else:
            for run_id, line in lines.items():
                if line != self._lines[run_id]:
                    listing.replace_option_prompt(run_id, line)
            self._lines = lines
        listing.border_title = Content(f"Runs · {len(runs)}") if runs else Content("Runs")

    def _shape(self, run_id: str) -> tuple[str, str] | None:
        """How the charts draw a marked run."""
        if run_id not in self._marked:
            return None
        slot = self._marked.index(run_id) + 1
        return SHAPES[slot], COLOURS[slot]

    def action_mark(self) -> None:
        """Draw the run under the cursor over whichever run is shown, or no longer."""
        if self._wanted is None:
            return
        if self._wanted in self._marked:
            self._mark(tuple(run_id for run_id in self._marked if run_id != self._wanted))
        elif len(self._marked) >= MOST_RUNS - 1:
            self.workbench.tell(
                f"{MOST_RUNS - 1} runs are marked, as many as can be told apart; u unmarks all.",
                severity="warning",
            )
        else:
            self._mark((*self._marked, self._wanted))

    def action_unmark(self) -> None:
        self._mark(())

    def _mark(self, marked: tuple[str, ...]) -> None:
        self._marked = marked
        self.redraw()
        if self._wanted is not None:
            self.load_run(self._wanted)

    def _place_cursor(self) -> None:
        listing = self.query_one(OptionList)
        ids = list(self._lines)
        coming = self._coming
        if coming is not None and coming in ids:
            self._coming = None
            listing.highlighted = ids.index(coming)
        elif ids:
            listing.highlighted = ids.index(self._wanted) if self._wanted in ids else 0

    @on(OptionList.OptionHighlighted, "#run-list")
    def highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Shows the run under the cursor; one that is shown already is not read again."""
        if event.option_id is not None and event.option_id != self._wanted:
            self._wanted = event.option_id
            self.load_run(event.option_id)
        elif event.option_id is not None and self.query_one(RunPane).run_id is None:
            self.load_run(event.option_id)

    @work(exclusive=True, group="load-run")
    @told
    async def load_run(self, run_id: str) -> None:
        """Reads a run; drawn if it is still the one wanted."""
        marked = self._marked
        picture = await self.ask(lambda workspace: read_run(workspace, run_id, marked))
        if run_id == self._wanted and marked == self._marked:
            self.show_picture(picture)

    @on(OptionList.OptionSelected, "#run-list")
    def action_open(self) -> None:
        """Opens the run on a screen of its own, the marked ones in its charts."""
        from workbench.screens.runs.run import RunScreen

        if self._wanted:
            self.app.push_screen(RunScreen(self._wanted, self._marked))
