"""How good a reward model is: beside baselines, by length, by annotator, and where it is surely wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widgets import Static

from workbench.keyboard import DIALOG
from workbench.screens.base import WorkbenchScreen, told
from workbench.screens.report.sections import SectionPane, line_content, lines_content
from workbench.widgets.choice import ChooseScreen
from workbench.widgets.row_list import RowList
from workbench.widgets.safe import safe_line, safe_text

if TYPE_CHECKING:
    from storage.measures.report_records import WrongPair
    from workbench.services.reports.reports import RewardReport

WRONG = "wrong"
WIDE, HIGH = 150, 40
"""From this size on every section is shown at once."""
STRIP_MARGIN = 4
LIST_HEAD = "sure  people      scores       prompt"


class ReportScreen(WorkbenchScreen):
    """The report of one reward model on one criterion."""

    TITLE_TEXT = "Report"
    LOOP = "Is the reward model better than knowing nothing, and where is it surely wrong?"
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", tooltip="Back to where the report was opened"),
        Binding("right", "section(1)", "section", key_display="← →", tooltip="Next section"),
        Binding("left", "section(-1)", "Section before", show=False),
        *(Binding(str(n), f"choose_section({n - 1})", f"Section {n}", show=False) for n in range(1, 9)),
        Binding("w", "wrong", "wrong", tooltip="The pairs most confidently wrong; ⏎ opens one"),
        Binding("q", "sql", "SQL", tooltip="The query behind this section, in the SQL screen"),
        Binding("c", "criterion", "criterion", tooltip="Measure on another criterion"),
        Binding("m", "model", "model", tooltip="Report of another reward model"),
        Binding("r", "reload", "measure again", tooltip="Measure again, after new judgements or scores"),
    ]

    def __init__(self, reward_model: str, criterion: str | None = None) -> None:
        super().__init__()
        self.reward_model, self.criterion = reward_model, criterion
        self.report: RewardReport | None = None
        self.chosen = 0

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the sections, in their order; the list of wrong pairs comes last."""
        from workbench.services.reports.text import keys_of

        return (*keys_of(self.report), WRONG)

    def compose_body(self) -> ComposeResult:
        from workbench.services.reports.text import SECTIONS

        yield Static(id="report-title", markup=False)
        yield Static(id="report-notes", markup=False)
        yield Static(id="report-strip", markup=False)
        with Vertical(id="report-body"):
            with Container(id="sections"):
                for number, (key, (title, _, _)) in enumerate(SECTIONS.items(), 1):
                    pane = SectionPane(key)
                    pane.border_title = Content.assemble((f"{number} ", "$text-accent"), title)
                    yield pane
            with Vertical(id="wrong-pane", classes="pane"):
                yield Static(id="no-wrong", markup=False)
                yield RowList(self.draw_wrong, self.fetch, id=WRONG)

    def on_mount(self) -> None:
        self.query_one("#report-notes").display = False
        self._number_wrong()
        self._choose(0)
        self.load()

    def on_resize(self) -> None:
        self.set_class(self.size.width >= WIDE and self.size.height >= HIGH, "-wide")

    # -- measuring ------------------------------

    @work(exclusive=True, group="report")
    @told
    async def load(self) -> None:
        """Measure in a thread; an error is told in the place of the figures."""
        name, criterion = self.reward_model, self.criterion
        self._say(Content.assemble((safe_line(name, 40), "bold"), ("  measuring …", "$foreground-muted")))
        try:
            report = await self.ask(lambda workspace: workspace.reports.reward(name, criterion))
        except Exception as error:
            self._say(Content.styled(safe_line(self.workbench.explain(error)), "$text-error"))
            return
        self.show_report(report)

    def show_report(self, report: RewardReport) -> None:
        """Draw every section."""
        from workbench.services.reports.text import heading, notes

        self.report = report
        self._say(
            Content.assemble(
                (safe_line(report.reward_model, 30), "bold"),
                ("  " + safe_line(report.criterion, 20), "$secondary"),
                (f"  {heading(report)}", "$foreground-muted"),
            )
        )
        remarks = notes(report)
        self.query_one("#report-notes").display = bool(remarks)
        self.query_one("#report-notes", Static).update(Content(safe_text("\n".join(remarks))))
        self.set_class(bool(report.benchmarks), "-benched")
        self._number_wrong()
        self.query_one("#report-strip", Static).update(self._strip())
        for pane in self.query(SectionPane):
            if pane.key in self.keys:
                pane.show(report)
        wrong = self.query_one(RowList)
        wrong.show_all(report.wrong, keep_cursor=True)
        wrong.display = bool(report.wrong)
        head = LIST_HEAD if report.wrong else report.missing or "It is wrong about no pair."
        self.query_one("#no-wrong", Static).update(Content(safe_text(f" {head}")))

    def _number_wrong(self) -> None:
        title = Content.assemble((f"{len(self.keys)} ", "$text-accent"), "Most confidently wrong")
        self.query_one("#wrong-pane").border_title = title

    def _say(self, line: Content) -> None:
        self.query_one("#report-title", Static).update(line)

    # -- sections ------------------------------

    def _choose(self, index: int) -> None:
        """Show a section; where all are shown, put the focus on it."""
        self.chosen = index % len(self.keys)
        chosen = self.keys[self.chosen]
        self.set_class(chosen == WRONG, "-wrong")
        self.query_one("#wrong-pane").set_class(chosen == WRONG, "-chosen")
        for pane in self.query(SectionPane):
            pane.set_class(pane.key == chosen, "-chosen")
        target = self.query_one(RowList) if chosen == WRONG else self.query_one(f"#section-{chosen}")
        self.call_after_refresh(target.focus)
        self.query_one("#report-strip", Static).update(self._strip())

    def _strip(self) -> Content:
        from workbench.services.reports.text import SECTIONS

        titles = [*(SECTIONS[key][0] for key in self.keys if key != WRONG), "Wrong"]
        parts = [
            Content.assemble(
                (f"{number} ", "$text-accent"),
                (title, "bold $text-primary underline" if number == self.chosen + 1 else ""),
            )
            for number, title in enumerate(titles, 1)
        ]
        whole = Content(" ").join(parts)
        if not self.has_class("-benched") or whole.cell_length <= self.size.width - STRIP_MARGIN:
            return whole
        middle = len(parts) // 2  # a line is broken between sections, never between a number and its title
        return Content("\n").join(Content(" ").join(half) for half in (parts[:middle], parts[middle:]))

    def action_section(self, by: int) -> None:
        self._choose(self.chosen + by)

    def action_choose_section(self, index: int) -> None:
        """Goes to a section by its number; numbers beyond the last do nothing."""
        if index < len(self.keys):
            self._choose(index)

    def action_wrong(self) -> None:
        """Goes to the pairs that the model gets wrong, the last section."""
        self._choose(len(self.keys) - 1)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Where all sections are shown, the one with the focus is the one at hand."""
        for key in self.keys:
            pane = self.query_one(f"#{WRONG}" if key == WRONG else f"#section-{key}")
            if event.widget is pane:
                self.chosen = self.keys.index(key)

    # -- the pairs most confidently wrong ------------------------------

    def draw_wrong(self, pair: WrongPair, width: int) -> Content:
        """One line of the list of pairs that the model gets wrong."""
        from workbench.services.reports.text import wrong_line

        return line_content(wrong_line(pair, width))

    async def fetch(self, offset: int, limit: int) -> Sequence[WrongPair]:
        """A page of the pairs that the model gets wrong."""
        return self.report.wrong[offset : offset + limit] if self.report else ()

    @on(RowList.Chosen)
    def open_pair(self, event: RowList.Chosen) -> None:
        """Shows both responses of a wrong pair."""
        from workbench.screens.report.pair import PairScreen

        if self.report is not None and event.row is not None:
            self.app.push_screen(PairScreen(self.report, self.query_one(RowList).cursor))

    # -- keys ------------------------------

    def action_back(self) -> None:
        self.dismiss()

    def action_reload(self) -> None:
        self.load()

    @work(group=DIALOG, exclusive=True)
    @told
    async def action_criterion(self) -> None:
        """Choose among the criteria that people have judged by."""
        report = self.report
        if report is None:
            return
        names = [fit.criterion for fit in report.criteria]
        chosen = await self.app.push_screen_wait(ChooseScreen("Measure on", names, report.criterion))
        if chosen is not None and chosen != report.criterion:
            self.criterion = chosen
            self.load()

    @work(group=DIALOG, exclusive=True)
    @told
    async def action_model(self) -> None:
        """Asks whose report to read."""
        names = await self.ask(lambda workspace: workspace.reports.models())
        chosen = await self.app.push_screen_wait(ChooseScreen("Report of", names, self.reward_model))
        if chosen is not None and chosen != self.reward_model:
            self.reward_model, self.criterion = chosen, None
            self.load()

    def query_of(self, key: str) -> str:
        """The SQL behind a section of the report that is shown."""
        from workbench.services.reports.text import SECTIONS

        if self.report is None:
            return ""
        return self.workspace.reports.query(self.report, key if key == WRONG else SECTIONS[key][1])

    def action_sql(self) -> None:
        """Takes the section's query to the SQL screen."""
        if self.report is not None:
            self.workbench.show_query(self.query_of(self.keys[self.chosen]))

    def explained(self) -> Content:
        """For F1: each figure in a sentence and the query it comes from, the section at hand first."""
        from workbench.services.reports.lines import prose
        from workbench.services.reports.text import SECTIONS
        from workbench.services.reports.words import EXPLAINED

        order = [*self.keys[self.chosen :], *self.keys[: self.chosen]]
        parts: list[Content | str | tuple[str, str]] = []
        for key in order:
            title = SECTIONS[key][0] if key in SECTIONS else "Most confidently wrong"
            parts += ["\n", (title, "bold $primary"), "\n"]
            for figure, meaning in EXPLAINED[key]:
                parts += [(figure, "bold"), "\n", lines_content(prose(meaning, 68, "")), "\n"]
            parts += [("q opens this query in the SQL screen:\n", "$foreground-muted")] if parts else []
            parts += [(safe_text(self.query_of(key)), "$foreground-muted"), "\n"]
        return Content.assemble(*parts)
