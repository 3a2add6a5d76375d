"""One tab of the SQL screen: an editor, a line that says how its query goes, and what the query gave."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static, TextArea

from engine.wording import counted
from workbench.screens.base import WorkbenchScreen, told
from workbench.screens.sql.editor import SqlEditor
from workbench.screens.sql.text import error_sentence
from workbench.services.sql.places import fault_offset, in_written, line_and_column
from workbench.services.sql.values import given, with_values
from workbench.widgets.safe import safe_line

if TYPE_CHECKING:
    import pyarrow

    from workbench.screens.sql.results import ResultTable, SafeBackend
    from workbench.services.sql.result_rows import ResultRows
    from workbench.services.sql.sql import Fetched, SqlQuestion
    from workbench.shell import Shell

FEW = 4
"""Rows of each batch but the first that widths of columns are measured on."""
FROM = re.compile(r"\b(?:from|pivot|summarize|describe|into|update)\s+\"?(\w+)", re.IGNORECASE)
NOT_RUN = "F9 runs the query."
EARLIER_SECONDS = 0.4
"""From then on the rows of the query before are drawn dim while another runs."""


@dataclass(frozen=True)
class AskedSql:
    """A text that is run: as it stands in the editor, and with values for its parameters."""

    written: str
    begins: int = 0
    """Its place in the editor."""
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def sql(self) -> str:
        """What is run."""
        return with_values(self.written, self.values) if self.values else self.written

    def place(self, error: BaseException) -> int | None:
        """The offset in the editor of what an error is about; None where it does not tell."""
        offset = fault_offset(error, self.sql)
        if offset is None:
            return None
        return self.begins + in_written(self.written, given(self.written, self.values), offset)


class QueryTab(Vertical):
    """An editor and its result; its queries run beside those of other tabs."""

    def __init__(self, text: str, subtitle: Content) -> None:
        super().__init__(classes="tab")
        self.name_given = ""
        """The name of the saved query, or of the question, that came into the editor."""
        self.ran: AskedSql | None = None
        """The query whose rows are shown."""
        self._text, self._subtitle = text, subtitle
        self._question: SqlQuestion | None = None
        self._rows: ResultRows | None = None
        self._started = 0.0
        self._doing = "running"
        self._earlier = False  # whether the rows shown are those of the query before
        self._clock: Timer | None = None

    def compose(self) -> ComposeResult:
        editor = SqlEditor(self._text, id="editor", language="sql", tab_behavior="focus", soft_wrap=True)
        editor.border_subtitle = self._subtitle
        yield editor
        yield Static(id="message", markup=False)
        with Vertical(id="result"):
            yield Static(NOT_RUN, id="no-result", classes="empty", markup=False)

    def on_unmount(self) -> None:
        self.cancel()
        if self._rows is not None:
            self._rows.close()

    @property
    def editor(self) -> SqlEditor:
        """Where the query stands."""
        return self.query_one("#editor", SqlEditor)

    @property
    def result(self) -> ResultTable | None:
        """The rows that are shown; None where there are none."""
        from workbench.screens.sql.results import ResultTable

        return next(iter(self.query(ResultTable)), None)

    @property
    def running(self) -> bool:
        """Whether a query of this tab runs, or rows of it are written to a file."""
        return self._question is not None

    @property
    def label(self) -> str:
        """What the tab is about, in a word."""
        if self.name_given:
            return self.name_given
        found = FROM.search(self.editor.text)
        return found[1] if found else "query" if self.editor.text.strip() else "empty"

    @property
    def left_behind(self) -> bool:
        """Whether closing would lose a query that the history does not have."""
        text = self.editor.text.strip()
        return bool(text) and not self.name_given and (self.ran is None or self.ran.written != text)

    def say(self, sentence: Content) -> None:
        """The line under the editor."""
        self.query_one("#message", Static).update(sentence)

    @on(TextArea.Changed, "#editor")
    def forget_error(self) -> None:
        """An error is gone as soon as the query is changed."""
        if not self.running:
            self.say(Content(""))

    def cancel(self) -> bool:
        """Interrupt what runs; whether something did."""
        if self._question is not None:
            self._question.cancel()
        return self._question is not None

    # -- running --------------------------------------------------------------------------------------------

    def written(self) -> AskedSql | None:
        """What is selected, or else everything in the editor; None where there is nothing."""
        editor = self.editor
        text, begins = editor.text, 0
        if editor.selected_text.strip():
            start = min(editor.selection)
            text = editor.selected_text
            begins = len(editor.get_text_range((0, 0), start))
        lead = len(text) - len(text.lstrip())
        return AskedSql(text.strip(), begins + lead) if text.strip() else None

    @work(exclusive=True, group="query")
    @told
    async def run_query(self, asked: AskedSql, *, unlocked: bool, after: Callable[[], None]) -> None:
        """Run it; rows are shown as they come.  `after` is called at its end, however it ended."""
        workspace = await self._shell.opened()
        question = workspace.sql.question(asked.sql, unlocked=unlocked)
        self._earlier = True
        self._begin("running", question)
        try:
            fetched = await self._shown_as_it_comes(question, asked)
        except Exception as error:
            await self._no_result("No result: the query failed.")
            self._tell(error, asked)
        else:
            self._say_how_many(fetched)
        finally:
            self._end()
            after()

    async def _shown_as_it_comes(self, question: SqlQuestion, asked: AskedSql) -> Fetched:
        """Read all rows in a thread, and show the first as soon as they are there."""
        loop = asyncio.get_running_loop()
        first: asyncio.Future[SafeBackend] = loop.create_future()

        def came(rows: ResultRows) -> Callable[[pyarrow.RecordBatch], None]:
            from workbench.screens.sql.results import measured, readable

            backend = measured(readable(rows))
            loop.call_soon_threadsafe(first.set_result, backend)
            return lambda batch: backend.measure(batch, FEW)

        reading = asyncio.create_task(asyncio.to_thread(question.rows, came))
        try:
            either: set[asyncio.Future[Any]] = {reading, first}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if first.done():
                self.ran = asked
                await self._show(first.result())
            return await reading
        finally:
            if not reading.done():  # the tab goes away
                question.cancel()

    async def _show(self, backend: SafeBackend) -> None:
        """Replace the table."""
        from workbench.screens.sql.results import ResultTable

        before = self.result
        table = ResultTable(backend)
        await self._put(table)
        if before is not None and before.has_focus:
            table.focus()
        if self._rows is not None:
            self._rows.close()
        self._rows, self._earlier = backend.rows, False
        self.remove_class("-earlier")

    async def _no_result(self, sentence: str) -> None:
        """What an earlier query gave does not stand under another's error."""
        self.ran, self._earlier = None, False
        self.remove_class("-earlier")
        await self._put(Static(sentence, id="no-result", classes="empty", markup=False))
        if self._rows is not None:
            self._rows.close()
            self._rows = None

    async def _put(self, widget: Static | ResultTable) -> None:
        place = self.query_one("#result", Vertical)
        had_focus = any(child.has_focus for child in place.children)
        async with self.batch():
            await place.remove_children()
            await place.mount(widget)
        if had_focus:
            widget.focus() if widget.focusable else self.editor.focus()

    def _say_how_many(self, fetched: Fetched) -> None:
        """How many rows there are, how long they took, and whether there are more."""
        table = self.result
        if table is not None:
            table.grow()
        rows = table.row_count if table is not None else 0
        more = "; there are more, ctrl+o exports all" if fetched.truncated else ""
        if fetched.stopped:
            more = f"; stopped before the end: {fetched.stopped}"
        shown = f"first {counted(rows, 'row')}" if more else counted(rows, "row")
        took = "  <1 ms" if fetched.seconds < 0.001 else f"  {fetched.seconds * 1000:,.0f} ms"
        several = f"; of the last of {fetched.statements} statements" if fetched.statements > 1 else ""
        self.say(
            Content.assemble(
                (shown, "bold"), (took, "$foreground-muted"), (several + safe_line(more), "$text-warning")
            )
        )

    def _tell(self, error: BaseException, asked: AskedSql) -> None:
        """An error's sentence, and the mark at its place in the editor."""
        text, offset = self.editor.text, asked.place(error)
        place = None if offset is None else line_and_column(text, offset)
        self.say(error_sentence(place, self._shell.explain(error)))
        stands = text[asked.begins : asked.begins + len(asked.written)] == asked.written
        if place is not None and stands:
            self.editor.mark(*place)

    # -- exporting ------------------------------------------------------------------------------------------

    @work(exclusive=True, group="query")
    @told
    async def export(self, asked: AskedSql, path: str, name: str) -> None:
        """Write all rows of a query to a file; `name` is the file as it was typed."""
        workspace = await self._shell.opened()
        question = workspace.sql.question(asked.sql)
        self._begin("exporting", question)
        try:
            rows = await asyncio.to_thread(question.export, path)
        except Exception as error:
            self._end()
            self._tell(error, asked)
        else:
            self._end()
            self.say(Content(f"{counted(rows, 'row')} written to {safe_line(name, 200)}."))
        finally:
            question.cancel()  # the tab goes away

    # -- the time -------------------------------------------------------------------------------------------

    def _begin(self, doing: str, question: SqlQuestion) -> None:
        self._doing, self._question, self._started = doing, question, time.monotonic()
        self._clock = self.set_interval(0.1, self._tick)
        self._tick()

    def _end(self) -> None:
        self._question = None
        if self._clock is not None:
            self._clock.stop()
            self._clock = None

    def _tick(self) -> None:
        """How long it has run, and the rows that have come."""
        if self._question is None:
            return
        seconds, table = time.monotonic() - self._started, self.result
        so_far = ""
        if self._doing == "running" and table is not None:
            if self._earlier:
                self.set_class(seconds > EARLIER_SECONDS, "-earlier")
            else:
                table.grow()
                so_far = f"  {counted(table.row_count, 'row')} so far"
        self.say(
            Content.assemble(
                (self._doing, "$primary"),
                f" {seconds:.1f} s{so_far}",
                ("  esc cancels", "$foreground-muted"),
            )
        )

    @property
    def _shell(self) -> Shell:
        screen = self.screen
        assert isinstance(screen, WorkbenchScreen)
        return screen.workbench
