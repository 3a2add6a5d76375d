"""Experiments: their arms beside each other, who beat whom, and what differs in their settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from workbench.keyboard import DIALOG
from workbench.screens.base import WorkbenchScreen, attempt, told
from workbench.widgets.choice import ChooseScreen
from workbench.widgets.safe import safe_line
from workbench.widgets.typed import SafeInput

if TYPE_CHECKING:
    from workbench.services.experiments.results import ExperimentResult
    from workbench.services.workspace import Workspace
    from workbench.shell import Shell

REFRESH_SECONDS = 2.0
NAME_WIDTH, SHOWN_ARMS, NARROW = 22, 8, 12
NOTHING = """There is no experiment yet.

[b]f[/b]   run a file of methods, seeds and settings
    [b]workbench experiment init[/b] writes one to fill in"""
MUTED = "$foreground-muted"
HEAD = ("arm", "seeds", "gain", "wins", "KL", "tokens", "seconds")
ROOMY = 110
"""From this width on, wins and KL have their intervals beside them."""


def arms_table(result: ExperimentResult, *, wide: bool = True) -> Content:
    """A line an arm: its seeds, what the judge says of it, KL, length, seconds; few intervals unless wide."""
    from workbench.services.experiments.results import estimate_text, rate_text

    widths = (22, 6, 22, 17, 20, 8, 9) if wide else (17, 6, 21, 6, 7, 7, 8)

    def line(cells: Sequence[str], style: str = "") -> Content:
        parts = [cells[0].ljust(widths[0])]
        parts += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return Content.assemble(*parts[:2], (parts[2], style), *parts[3:])

    answering = [arm for arm in result.arms if not arm.is_reward_model]
    lines = [Content.styled(line(HEAD).plain, MUTED)] if answering else []
    for arm in answering:
        gain, wins, kl = arm.gain, arm.wins, arm.kl
        low, high = (None, None) if gain is None else (gain.low, gain.high)
        sure = low is not None and high is not None and (low > 0 or high < 0)
        won = "–" if wins is None else rate_text(wins) if wide else f"{100 * wins.rate:.0f}%"
        cells = (
            safe_line(arm.arm, widths[0] - 1),
            f"{arm.done}/{arm.seeds}",
            estimate_text(gain, signed=True),
            won,
            estimate_text(kl) if wide or kl is None else f"{kl.mean:.2f}",
            "–" if arm.tokens is None else f"{arm.tokens.mean:.1f}",
            "–" if arm.seconds is None else f"{arm.seconds.mean:.0f}",
        )
        lines.append(line(cells, "bold" if sure else ""))
    return Content("\n").join(lines)


def scorers_table(result: ExperimentResult) -> Content:
    """A line a reward model that the experiment trains: what it says of judgements that it held out."""
    from workbench.services.experiments.results import estimate_text

    head = (
        f"{'reward model':<{NAME_WIDTH}}{'seeds':>6}{'held-out accuracy':>22}{'log-loss':>22}{'seconds':>9}"
    )
    lines = [Content.styled(f"\n{head}", MUTED)]
    for arm in result.arms:
        if arm.is_reward_model:
            name = safe_line(arm.arm, NAME_WIDTH - 1).ljust(NAME_WIDTH)
            seconds = "–" if arm.seconds is None else f"{arm.seconds.mean:.0f}"
            lines.append(
                Content(
                    f"{name}{f'{arm.done}/{arm.seeds}':>6}{estimate_text(arm.accuracy):>22}"
                    f"{estimate_text(arm.log_loss):>22}{seconds:>9}"
                )
            )
    return Content("\n").join(lines) if len(lines) > 1 else Content("")


def matrix(result: ExperimentResult) -> Content:
    """How often the arm of the row beat that of the column, in per cent; bold where the interval is sure."""
    compared = [arm for arm in result.arms if not arm.is_reward_model]
    names = [arm.arm for arm in compared][:SHOWN_ARMS]
    head = " " * NAME_WIDTH + "".join(safe_line(name, NARROW - 2).rjust(NARROW) for name in names)
    lines = [Content.styled(f"\nrow beats column, by {safe_line(result.judge, 40)}; ties one half", MUTED)]
    lines.append(Content.styled(head, MUTED))
    for arm in compared:
        cells: list[Content] = [Content(safe_line(arm.arm, NAME_WIDTH - 1).ljust(NAME_WIDTH))]
        for name in names:
            met = result.meeting(arm.arm, name)
            sure = met is not None and (met.low > 0.5 or met.high < 0.5)
            text = "·" if met is None else f"{100 * met.rate:.0f}%"
            cells.append(Content.styled(text.rjust(NARROW), "bold" if sure else ""))
        lines.append(Content.assemble(*cells))
    return Content("\n").join(lines)


def settings_table(result: ExperimentResult) -> Content:
    """A line a setting in which arms differ."""
    arms = [arm.arm for arm in result.arms if arm.kind][:SHOWN_ARMS]
    lines = [Content.styled("\nwhat differs in their settings", MUTED)]
    head = " " * NAME_WIDTH + "".join(safe_line(name, NARROW - 2).rjust(NARROW) for name in arms)
    lines.append(Content.styled(head, MUTED))
    for key, row in result.differing.items():
        cells = "".join(_value(row.get(arm, "")).rjust(NARROW) for arm in arms)
        lines.append(Content(safe_line(key, NAME_WIDTH - 1).ljust(NAME_WIDTH) + cells))
    return Content("\n").join(lines)


def _value(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else value
    return safe_line(f"{text:g}" if isinstance(text, float) else str(text), NARROW - 2)


class ExperimentsScreen(WorkbenchScreen):
    """One experiment of the store, the newest first."""

    TITLE_TEXT = "Experiments"
    LOOP = "Which method is better, by a judge that none of them has seen, and how sure is that?"
    CSS_PATH = "experiments.tcss"
    AUTO_FOCUS = "#experiment"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", tooltip="Back to where this was opened"),
        Binding("c", "choose", "choose", tooltip="Choose another experiment"),
        Binding(
            "j", "judge", "judge", tooltip="Choose who decides: a reward model, people, models that judge"
        ),
        Binding("r", "rank", "rank", tooltip="Rank the answers: F3 follows this experiment"),
        Binding("f", "file", "run file", tooltip="Run a file: queue what is missing of its experiment"),
        Binding("w", "write", "report", tooltip="Write the report: Markdown and pictures"),
    ]

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.experiment, self.judge = name, ""
        self.result: ExperimentResult | None = None
        self._moves = -1

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(id="experiment", classes="pane"):
            for part in ("notes", "arms", "scorers", "matrix", "settings"):
                yield Static(id=f"experiment-{part}", markup=False)

    def on_mount(self) -> None:
        self.query_one("#experiment").border_title = "Experiment"
        self.set_interval(REFRESH_SECONDS, self.look)
        self.load()

    def look(self) -> None:
        """Read again when anything has been stored: the runs of an experiment go on meanwhile."""
        if self.result is not None and self.result.waiting and self.workspace.jobs.moves != self._moves:
            self.load()

    @work(exclusive=True, group="experiment")
    @told
    async def load(self) -> None:
        """Read the experiment in a thread, then draw."""
        name, judge = self.experiment, self.judge

        def read(w: Workspace) -> tuple[int, ExperimentResult | None]:
            moves, rows = w.jobs.moves, w.experiments.listed()
            chosen = name or (rows[0].name if rows else "")
            return moves, w.experiments.result(chosen, judge) if chosen else None

        self._moves, self.result = await self.ask(read)
        self.show()

    def on_resize(self) -> None:
        if self.result is not None:
            self.show()

    def show(self) -> None:
        """Draw what was read."""
        result, pane = self.result, self.query_one("#experiment")
        if result is None:
            self.query_one("#experiment-notes", Static).update(Content.from_markup(NOTHING))
            return
        self.experiment = result.name
        pane.border_title = Content(safe_line(result.name, 60))
        parts: dict[str, Content] = {
            "notes": Content("\n").join(Content.styled(safe_line(note, 200), MUTED) for note in result.notes),
            "arms": Content("\n") + arms_table(result, wide=self.size.width >= ROOMY),
            "scorers": scorers_table(result),
            "matrix": matrix(result) if result.meetings else Content(""),
            "settings": settings_table(result) if result.differing else Content(""),
        }
        for part, content in parts.items():
            self.query_one(f"#experiment-{part}", Static).update(content)

    @work(group=DIALOG, exclusive=True)
    @told
    async def action_choose(self) -> None:
        """Asks which experiment is shown."""
        names = await self.ask(lambda w: [row.name for row in w.experiments.listed()])
        if names and (chosen := await self._chosen("Experiment", names, self.experiment)):
            self.experiment, self.judge = chosen, ""
            self.load()

    @work(group=DIALOG, exclusive=True)
    @told
    async def action_judge(self) -> None:
        """Asks whose verdicts count."""
        judges = await self.ask(lambda w: w.leaderboards.judges())
        current = self.judge or (self.result.judge if self.result else "")
        if chosen := await self._chosen("Judged by", judges, current):
            self.judge = chosen
            self.load()

    async def _chosen(self, title: str, names: Sequence[str], current: str) -> str | None:
        chosen: str | None = await self.app.push_screen_wait(ChooseScreen(title, names, current))
        return chosen

    @work(group=DIALOG, exclusive=True)
    @told
    async def action_rank(self) -> None:
        """Has the rank screen follow a project of this experiment's answers, and goes there."""
        from workbench.services.experiments.people import ask

        if (name := self.experiment) and self.result is not None:
            await self.ask(lambda w: ask(w.store, w.judging.projects, name, w.settings.annotator))
            self.workbench.action_go("rank")

    @work(group=DIALOG, exclusive=True)
    @told
    async def action_file(self) -> None:
        """Asks for a run file and shows its experiment."""
        if name := await self.app.push_screen_wait(RunFileScreen()):
            self.experiment, self.judge = name, ""
            self.load()

    @work(group=DIALOG, exclusive=True)
    @told
    async def action_write(self) -> None:
        """Writes the report into a folder of the experiment's name."""
        from workbench.services.experiments.report import write_report

        result = self.result
        if result is None:
            return
        folder = Path(result.name)
        await self.ask(lambda _: write_report(result, folder))
        self.workbench.tell(f"Written: {folder / 'report.md'}", severity="information")

    def action_back(self) -> None:
        self.leave()


class RunFileScreen(ModalScreen[str | None]):
    """Asks for a run file and queues what is missing of it; stays open on an error."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Do not run")]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Run a file of methods"
            box.border_subtitle = "⏎ run · esc back"
            yield SafeInput(placeholder="methods.toml")
            yield Static("", id="file-says", classes="quiet", markup=False)

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.run_it(Path(event.value.strip()).expanduser())

    @work(exclusive=True)
    @told
    async def run_it(self, path: Path) -> None:
        """Queues the runs, or says here why they cannot be."""
        from workbench.services.experiments.running import run_file

        queued = await attempt(self, "#file-says", lambda w: run_file(w.store, w.jobs, path))
        if queued is None:
            return
        cast("Shell", self.app).tell(queued.sentence, severity="information")
        if self.is_current:
            self.dismiss(queued.name)
