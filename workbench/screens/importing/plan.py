"""What the columns of a file are, changed by keys beside its first rows, before anything comes in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.keyboard import DIALOG
from workbench.screens.base import WorkbenchScreen, told
from workbench.screens.importing.options import ImportOptionsScreen
from workbench.screens.importing.sheet import Sheet, draw_column, losses_content, standing_content
from workbench.services import import_draft as draft
from workbench.services.import_draft import ColumnLine, ImportCounts, ImportOptions
from workbench.services.importing import ImportRequest, outlook
from workbench.widgets.choice import ChooseScreen
from workbench.widgets.row_list import RowList
from workbench.widgets.safe import safe_content, safe_line

if TYPE_CHECKING:
    from storage.import_records import ImportReport
    from workbench.services.import_draft import Plan

ROLE_KEYS: dict[str, str] = {
    "prompt": "p",
    "response": "r",
    "responses": "l",
    "chosen": "c",
    "rejected": "j",
    "response_a": "a",
    "response_b": "b",
    "winner": "w",
    "rank": "k",
    "rating": "s",
    "criterion": "h",
    "policy": "m",
    "annotator": "u",
    "id": "d",
    "system": "y",
    "input": "n",
    "keep": "equals_sign",
    "ignore": "x",
}
"""Roles that files have most; ⏎ lists all of them."""
REASONS = 40


def in_keys(sentence: str, *, options: str = "o") -> str:
    """A sentence of the importer with keys in the place of flags."""

    def key_of(role: str) -> str:
        key = ROLE_KEYS.get(role) or ROLE_KEYS.get(role.partition(".")[0])
        return {"equals_sign": "="}.get(key, key) if key else f"⏎ {role}"

    return draft.in_keys(sentence, key_of, turn="t", rows="f", options=options)


class ImportPlanScreen(WorkbenchScreen):
    """Columns and what each becomes; the first rows; what is lost. Answers True once the file is in."""

    TITLE_TEXT = "Import"
    LOOP = "Say what each column of the file is; nothing comes in before i."
    CSS_PATH = "files.tcss"
    AUTO_FOCUS = "#mapping"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose_role", "role", tooltip="Choose what this column is from all roles"),
        Binding("i", "import", "import", tooltip="Import the file as it stands here"),
        Binding("v", "standing", "rows", tooltip="The file's rows, or the rows as they would stand"),
        Binding("f", "form", "form", tooltip="Read it as a known data set, or as rows of one form"),
        Binding(
            "o", "options", "options", tooltip="Encoding, names for what the file does not name, bad rows"
        ),
        Binding("t", "turn", "turn", tooltip="The verdicts of this column mean the other side"),
        Binding("backspace", "forget", "as proposed", tooltip="Forget what was said of this column"),
        *(
            Binding(key, f"role('{role}')", f"This column is: {role}", show=False)
            for role, key in ROLE_KEYS.items()
        ),
        Binding("escape", "leave", "Another file; nothing comes in"),
    ]

    def __init__(self, plan: Plan, options: ImportOptions) -> None:
        super().__init__()
        self.plan, self.options = plan, options
        self.lines: list[ColumnLine] = draft.column_lines(plan)
        self.keys_wait = False
        self.importing = False
        self._sure_of: Plan | None = None  # taken as it stands after a second i
        self._stop = threading.Event()

    def compose_body(self) -> ComposeResult:
        yield Static(id="plan-head", markup=False)
        yield Static(id="plan-counts", markup=False)
        with Horizontal(id="plan-body"):
            with Vertical(id="mapping-pane", classes="pane"):
                yield RowList(draw_column, self._fetch, id="mapping")
            with Vertical(id="sheet-pane", classes="pane"):
                yield Sheet(id="sheet", zebra_stripes=False, cursor_type="column", show_row_labels=False)
                with VerticalScroll(id="standing"):
                    yield Static(id="standing-text")
        with VerticalScroll(id="losses", classes="pane"):
            yield Static(id="losses-text")

    def on_mount(self) -> None:
        pane = self.query_one("#mapping-pane")
        pane.border_title = "Columns and what they become"
        pane.border_subtitle = "p r l c j a b w k s … ⏎ all roles"
        self.query_one("#losses").border_title = "To look at"
        self._show()

    def on_unmount(self) -> None:
        self._stop.set()

    async def _fetch(self, offset: int, limit: int) -> list[ColumnLine]:
        return self.lines[offset : offset + limit]

    # -- what stands there ------------------------------

    def _show(self, *, keep_cursor: bool = False) -> None:
        """Everything anew, by the plan."""
        self.lines = draft.column_lines(self.plan)
        self.query_one(RowList).show_all(self.lines, keep_cursor=keep_cursor)
        self.query_one(Sheet).put(self.lines)
        self._show_column()
        self._show_outlook()
        self.count()

    def _show_outlook(self) -> None:
        seen = outlook(self.plan)
        how = f"read as {seen.preset}" if seen.preset else (seen.layout or "no form yet").replace("_", " ")
        guessed = seen.preset is None and seen.layout is not None
        sure = f", sure to {seen.confidence:.0%}" if guessed else ""
        head = Content.assemble((safe_line(seen.name, 60), "bold"), f"  {how}{sure}")
        self.query_one("#plan-head", Static).update(head)
        refused = draft.refusal(self.plan)
        warnings = [in_keys(warning) for warning in seen.losses.warnings]
        content = losses_content(
            in_keys(refused) if refused else None, seen.losses.left_out, seen.losses.dropped, warnings
        )
        self.query_one("#losses-text", Static).update(content)
        self.query_one("#losses").border_title = "Cannot come in yet" if refused else "To look at"
        self.query_one("#standing-text", Static).update(standing_content(seen.examples))
        shown = "Rows as they would stand" if self.has_class("-standing") else "The first rows"
        self.query_one("#sheet-pane").border_title = Content(shown)

    def _show_column(self) -> None:
        self.query_one(Sheet).go_to(self.query_one(RowList).cursor)

    @on(RowList.Moved)
    def moved(self) -> None:
        self._show_column()

    @on(Sheet.ColumnHighlighted)
    def column_highlighted(self, event: Sheet.ColumnHighlighted) -> None:
        """The list of columns follows the cursor in the sheet."""
        if self.query_one(Sheet).has_focus:
            self.query_one(RowList).cursor = event.cursor_column

    @work(exclusive=True, group="count")
    @told
    async def count(self) -> None:
        """Count the whole file; a plan that changes meanwhile begins anew."""
        self._stop.set()
        self._stop = stop = threading.Event()
        plan = self.plan
        line = self.query_one("#plan-counts", Static)
        if plan.layout is None:
            line.update(
                Content.styled("Nothing can be counted before the roles are clear.", "$foreground-muted")
            )
            return

        def read(tell: Callable[[ImportCounts], None]) -> ImportCounts | None:
            counts = None
            for counts in draft.count_rows(plan, stop.is_set):
                tell(counts)
            return counts

        def tell(counts: ImportCounts) -> None:
            if not stop.is_set():
                self.app.call_from_thread(self._show_counts, counts, stop)

        try:
            await asyncio.to_thread(read, tell)
        finally:
            stop.set()

    def _show_counts(self, counts: ImportCounts, stop: threading.Event) -> None:
        if stop is self._stop and self.is_attached:
            self.query_one("#plan-counts", Static).update(Content(safe_line(counts.sentence)))

    # -- changing what a column is ------------------------------

    @property
    def current(self) -> ColumnLine | None:
        """The column under the cursor."""
        line: ColumnLine | None = self.query_one(RowList).current
        return line

    def action_role(self, role: str) -> None:
        """Gives the column a role; one that has a name behind its dot takes the column's."""
        if (line := self.current) is not None:
            self._change(lambda plan: draft.with_role(plan, role, line.path))

    def action_forget(self) -> None:
        """Takes back what was said of the column: it is read as proposed."""
        if (line := self.current) is not None:
            self._change(lambda plan: plan.without_word_on(line.path))

    def action_turn(self) -> None:
        """Turns a verdict round: what said “first” says “second”."""
        line = self.current
        if line is None or not any(role.partition(".")[0] in ("winner", "winner_by") for role in line.roles):
            self.workbench.tell("This column holds no verdict that could be turned.", severity="warning")
            return
        self._change(lambda plan: plan.turned(line.path))

    @work(group=DIALOG)
    async def action_choose_role(self) -> None:
        """Asks for the column's role in a list that explains each."""
        line = self.current
        if line is None:
            return
        offered = {
            f"{_shown_key(ROLE_KEYS.get(role, '')):2} {role:16} {about}": role
            for role, about in draft.roles()
        }
        names = list(offered)
        now = next((name for name, role in offered.items() if role in line.roles), "")
        chosen = await self.app.push_screen_wait(ChooseScreen(f"“{line.name}” is", names, now))
        if chosen is not None:
            self._change(lambda plan: draft.with_role(plan, offered[chosen], line.path))

    @on(RowList.Chosen)
    def chosen(self) -> None:
        self.action_choose_role()

    @work(group=DIALOG)
    async def action_form(self) -> None:
        """Read the file as a data set that is known by name, or as rows of one form."""
        offered = {f"{name:26} {about}": name for name, about in draft.kinds()}
        chosen = await self.app.push_screen_wait(ChooseScreen("Read the file as", list(offered)))
        if chosen is None:
            return
        name = offered[chosen]
        shape = name.removeprefix("rows: ") if name.startswith("rows: ") else "auto"
        preset = None if shape != "auto" or name == "as proposed" else name
        self._propose(replace(self.options.request, kind=shape, preset=preset))

    @work(group=DIALOG)
    async def action_options(self) -> None:
        """Asks for encoding, names and limits; the file is read again where they matter to that."""
        answer = await self.app.push_screen_wait(ImportOptionsScreen(self.options))
        if answer is not None:
            again = answer.request != self.options.request
            self.options = answer
            if again:
                self._propose(answer.request)

    def _propose(self, request: ImportRequest) -> None:
        """Read the sample anew, with what has been said of the columns."""
        said = tuple(str(statement) for statement in self.plan.said)
        paths = [part.path for part in self.plan.source.parts]
        named = self.plan.source.path if len(paths) == 1 or self.plan.source.path.is_dir() else paths

        def again(_: Plan) -> Plan:
            return self.workspace.importing.propose(named, replace(request, mapping=said))

        self.options = replace(self.options, request=request)
        self._change(again)

    @work(exclusive=True, group="change")
    @told
    async def _change(self, change: Callable[[Plan], Plan]) -> None:
        """Another plan, unless it cannot be; keys that follow wait for it."""
        self.keys_wait = True
        try:
            plan = await asyncio.to_thread(_settled, change, self.plan)
        except Exception as error:
            self.workbench.tell(in_keys(self.workbench.explain(error)))
            return
        finally:
            self.keys_wait = False
        self.plan = plan
        self._show(keep_cursor=True)

    # -- the other keys ------------------------------

    def action_standing(self) -> None:
        """The file's rows, or the rows as they would stand in the store."""
        self.toggle_class("-standing")
        self._show_outlook()

    def action_leave(self) -> None:
        """Leaves without importing; an import that runs is not left."""
        if not self.importing:
            self._stop.set()
            self.leave(False)

    def action_import(self) -> None:
        """Imports; where the mapping is doubtful, a second time takes it as it stands."""
        if self.importing:
            return
        plan, refused = self.plan, draft.refusal(self.plan)
        if refused and plan.layout is not None and self._sure_of is not plan:
            self._sure_of = plan
            self.workbench.tell(f"{in_keys(refused)} Or i again takes it as it stands.", severity="warning")
            return
        if refused and plan.layout is None:
            self.workbench.tell(in_keys(refused))
            return
        self.run_import(draft.confirmed(plan) if refused else plan)

    @work(exclusive=True, group="import")
    @told
    async def run_import(self, plan: Plan) -> None:
        """Import in a thread; the file is in whole or not at all."""
        self._stop.set()
        self.importing = True
        workspace = await self.workbench.opened()
        try:
            report = await asyncio.to_thread(
                workspace.importing.run,
                plan,
                strict=self.options.strict,
                most_bad=self.options.most_bad,
                on_progress=self._progress,
            )
        except Exception as error:
            sentence = in_keys(self.workbench.explain(error))
            self.query_one("#losses-text", Static).update(Content.styled(safe_line(sentence), "bold $error"))
            self.query_one("#losses").border_title = "Nothing came in"
            return
        finally:
            self.importing = False
        self.workbench.refresh_status()
        await self.app.push_screen_wait(ImportedScreen(report))
        self.leave(True)

    def _progress(self, rows: int, share: float) -> None:
        """Called in the importing thread with the rows read and the share of the file."""
        line = self.query_one("#plan-counts", Static)
        self.app.call_from_thread(line.update, Content(f"importing … {rows:,} rows, {share:.0%}"))


def _shown_key(key: str) -> str:
    return {"equals_sign": "="}.get(key, key)


def _settled(change: Callable[[Plan], Plan], plan: Plan) -> Plan:
    """The changed plan with what the screen shows of it computed, outside the screen's own thread."""
    changed = change(plan)
    outlook(changed)
    return changed


class ImportedScreen(ModalScreen[None]):
    """What came in, what became of each column, which rows were left out and why."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,escape,q", "dismiss", "Close")]
    CSS_PATH = "files.tcss"
    AUTO_FOCUS = "#report"

    def __init__(self, report: ImportReport) -> None:
        super().__init__()
        self.report = report

    def compose(self) -> ComposeResult:
        report = self.report
        lines = [report.sentence, "", draft.read_as(report), *draft.left_out_lines(report, REASONS)]
        lines += [f"note: {in_keys(warning)}" for warning in report.warnings]
        with VerticalScroll(id="report", classes="dialog") as box:
            box.border_title = "Imported"
            box.border_subtitle = "↑↓ scroll · ⏎ close"
            yield Static(safe_content("\n".join(lines)), markup=False)
