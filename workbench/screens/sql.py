"""F7: every table and view of the store, an editor, and results of any size."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Static, TextArea, Tree

from engine.wording import counted
from workbench.keyboard import DIALOG
from workbench.messages import ShowQuery
from workbench.screens.base import WorkbenchScreen, told
from workbench.screens.sql_editor import SqlEditor
from workbench.screens.sql_text import column_label, error_place, error_sentence, relation_label
from workbench.services.completing import Completer
from workbench.services.sql_values import parameters_of, with_values
from workbench.widgets.confirm import AskScreen, ConfirmScreen
from workbench.widgets.safe import safe_line

if TYPE_CHECKING:
    import pyarrow
    from textual_fastdatatable import DataTable

    from workbench.screens.sql_results import SafeBackend
    from workbench.services.sql import Result
    from workbench.services.workspace import Workspace

SHOWN_ROWS = 200_000
"""Rows that the table holds at most; an export has no limit."""
LOCKED = Content.assemble("read-only  ", ("ctrl+l", "$secondary"), " unlocks")
UNLOCKED = Content.styled(" UNLOCKED: SQL CAN WRITE · ctrl+l locks ", "bold $background on $error")
FIRST_QUERY = "SELECT * FROM run_summary LIMIT 100"


class SqlScreen(WorkbenchScreen):
    """Tree, editor, result; read-only until it is unlocked."""

    TITLE_TEXT = "SQL"
    LOOP = "Ask the store anything; every number on the other screens can be recomputed here."
    CSS_PATH = "sql.tcss"
    AUTO_FOCUS = "#editor"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f9,ctrl+r", "run", "Run", key_display="F9"),
        Binding("escape", "cancel", "Cancel", show=False),
        Binding("ctrl+g", "history", "History", tooltip="Saved queries, questions, and what was run"),
        Binding("ctrl+s", "save", "Save"),
        Binding("ctrl+o", "export", "Export"),
        Binding("ctrl+l", "lock", "Unlock"),
        Binding("ctrl+t", "tree", "Tables", show=False),
        Binding("ctrl+n", "new", "New query", show=False, tooltip="An empty editor; ctrl+z brings it back"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.unlocked = False
        self._ran = ""
        self._started: float | None = None
        self._clock: Timer | None = None
        self._last_export = ""
        self._coming = ""  # a query that waits for the editor
        self._values: dict[str, str] = {}  # last given to parameters, by name

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="sql"):
            tree: Tree[str] = Tree("store", id="relations", classes="pane")
            tree.show_root = False
            tree.guide_depth = 2
            tree.border_title = Content.assemble("Tables, ", ("views", "italic"))
            yield tree
            with Vertical(id="desk"):
                editor = SqlEditor(
                    FIRST_QUERY, id="editor", language="sql", tab_behavior="focus", soft_wrap=True
                )
                editor.border_title = Content("Query")
                editor.border_subtitle = LOCKED
                yield editor
                yield Static(id="message", markup=False)
                with Vertical(id="result"):
                    yield Static("F9 runs the query.", id="no-result", classes="empty", markup=False)

    def on_mount(self) -> None:
        editor = self.query_one("#editor", SqlEditor)
        if self._coming:
            editor.text, self._coming = self._coming, ""
        editor.select_all()  # F9 runs it, typing replaces it
        self.load_tree()

    def on_show_query(self, message: ShowQuery) -> None:
        self.show_query(message.sql)

    def show_query(self, sql: str) -> None:
        """Put a query into the editor, at once or as soon as there is one; ctrl+z brings back the old."""
        if not self.is_mounted:
            self._coming = sql
            return
        editor = self.query_one("#editor", SqlEditor)
        editor.replace(sql, (0, 0), editor.document.end)
        editor.move_cursor((0, 0))
        editor.focus()

    def on_screen_resume(self) -> None:
        self.load_tree()

    @work(exclusive=True, group="tree")
    @told
    async def load_tree(self) -> None:
        """Read tables, views and columns; what was open stays open."""
        relations = await self.ask(lambda workspace: workspace.sql.tree())
        tree = self.query_one(Tree)
        names = [node.data for node in tree.root.children]
        if names == [relation.name for relation in relations]:
            return
        tree.clear()
        for relation in relations:
            node = tree.root.add(relation_label(relation), data=relation.name)
            for name, data_type in relation.columns:
                node.add_leaf(column_label(name, data_type), data=name)
        functions = await self.ask(lambda workspace: workspace.sql.functions())
        columns = {relation.name: [name for name, _ in relation.columns] for relation in relations}
        self.query_one("#editor", SqlEditor).completer = Completer(columns, functions)
        self.call_after_refresh(tree.move_cursor_to_line, 0)

    @on(Tree.NodeSelected)
    def insert_name(self, event: Tree.NodeSelected[str]) -> None:
        """⏎ on a column writes its name; on a table opens it, and in an empty editor asks for its rows."""
        if event.node.data is None:
            return
        editor = self.query_one("#editor", SqlEditor)
        name = quoted(event.node.data)
        if event.node.allow_expand:
            if not editor.text.strip():
                editor.text = f"SELECT * FROM {name} LIMIT 100"
        else:
            editor.insert(name)

    # -- running --------------------------------------------------------------------------------------------

    def action_run(self) -> None:
        """Run what is selected, or else everything in the editor."""
        editor = self.query_one("#editor", SqlEditor)
        sql = editor.selected_text.strip() or editor.text.strip()
        if not sql:
            self.say(Content.styled("There is nothing to run yet.", "$foreground-muted"))
        elif self._started is not None:
            self.say(Content("A query is running; esc cancels it."))
        elif parameters_of(sql):
            self._ask_and_run(sql)
        else:
            self._run(sql, sql)

    @work(group=DIALOG)
    @told
    async def _ask_and_run(self, sql: str) -> None:
        """Ask for the query's parameters, then run it; esc leaves it."""
        for name in parameters_of(sql):
            asked = AskScreen(f"${name} is", self._values.get(name, ""), "A number, or text.")
            given = await self.app.push_screen_wait(asked)
            if given is None:
                return
            self._values[name] = given
        self._run(with_values(sql, self._values), sql)

    @work(exclusive=True, group="query")
    @told
    async def _run(self, sql: str, written: str) -> None:
        """Run `sql`; `written` is the same as it stands in the editor."""
        workspace = await self.workbench.opened()
        unlocked = self.unlocked
        self._started = time.monotonic()
        self._clock = self.set_interval(0.1, self._tick)
        self._tick()
        try:
            result, backend = await asyncio.to_thread(fetch, workspace, sql, unlocked)
        except Exception as error:
            await self._no_result("No result: the query failed.")
            self.say(error_sentence(error, self.workbench.explain(error)))
            self._point_at(error, written)
        else:
            self._ran = sql
            await self.show_result(result, backend)
        finally:
            self._started = None
            if self._clock is not None:
                self._clock.stop()
        if unlocked:
            self.load_tree()
            self.workbench.refresh_status()

    def _tick(self) -> None:
        if self._started is not None:
            seconds = time.monotonic() - self._started
            self.say(
                Content.assemble(
                    ("running", "$primary"), f" {seconds:.1f} s", ("  esc cancels", "$foreground-muted")
                )
            )

    async def show_result(self, result: Result, backend: SafeBackend) -> None:
        """Replace the table; told how many rows there are and when there are more."""
        from workbench.screens.sql_results import ResultTable

        place = self.query_one("#result", Vertical)
        had_focus = any(table.has_focus for table in self.query(ResultTable))
        table = ResultTable(backend)
        async with self.batch():
            await place.remove_children()
            await place.mount(table)
        if had_focus:
            table.focus()
        rows = result.table.num_rows
        more = ("; there are more, ctrl+o exports all", "$text-warning") if result.truncated else ("", "")
        shown = f"first {counted(rows, 'row')}" if result.truncated else counted(rows, "row")
        took = (
            "  <1 ms" if result.seconds < 0.001 else f"  {result.seconds * 1000:,.0f} ms",
            "$foreground-muted",
        )
        last = result.statements > 1
        several = (f"; of the last of {result.statements} statements" if last else "", "$text-warning")
        self.say(Content.assemble((shown, "bold"), took, several, more))

    async def _no_result(self, sentence: str) -> None:
        """What an earlier query gave does not stand under another's error."""
        place = self.query_one("#result", Vertical)
        async with self.batch():
            await place.remove_children()
            await place.mount(Static(sentence, id="no-result", classes="empty", markup=False))

    def _point_at(self, error: BaseException, sql: str) -> None:
        """Mark where DuckDB found the fault, when the whole editor was run."""
        editor = self.query_one("#editor", SqlEditor)
        place = error_place(error)
        if place is not None and place[1] is not None and sql == editor.text.strip():
            lead = len(editor.text) - len(editor.text.lstrip())
            line = editor.text[:lead].count("\n") + place[0] - 1
            if line < editor.document.line_count:
                editor.mark(line, place[1] - 1)

    def action_cancel(self) -> None:
        """Interrupt the running query; from the table or the tree, go back to the editor."""
        if self._started is not None:
            self.workspace.sql.cancel()
        else:
            self.query_one("#editor").focus()

    def say(self, sentence: Content) -> None:
        """The line under the editor."""
        self.query_one("#message", Static).update(sentence)

    @on(TextArea.Changed, "#editor")
    def forget_error(self) -> None:
        """An error is gone as soon as the query is changed."""
        if self._started is None:
            self.say(Content(""))

    # -- keys -----------------------------------------------------------------------------------------------

    def action_new(self) -> None:
        """Empty the editor, as an edit that can be undone."""
        editor = self.query_one("#editor", SqlEditor)
        editor.clear()
        editor.focus()

    def action_tree(self) -> None:
        self.query_one("#relations").focus()

    @work(group=DIALOG)
    @told
    async def action_lock(self) -> None:
        """Unlock after a question; lock again at once."""
        question = (
            "Unlock the session? Statements that change or delete rows will then run. There is no undo."
        )
        if self.unlocked:
            self.unlocked = False
        elif await self.app.push_screen_wait(ConfirmScreen(question, "Unlock")):
            self.unlocked = True
        self.query_one("#editor").border_subtitle = UNLOCKED if self.unlocked else LOCKED
        self.set_class(self.unlocked, "-unlocked")

    @work(group=DIALOG)
    @told
    async def action_history(self) -> None:
        """Choose a query that was run or saved; it replaces what stands in the editor."""
        from workbench.screens.sql_history import HistoryScreen
        from workbench.services.gallery import gallery

        saved = await self.ask(lambda workspace: workspace.sql.saved())
        history = await self.ask(lambda workspace: workspace.sql.history())
        chosen = await self.app.push_screen_wait(HistoryScreen(saved, history, gallery()))
        if chosen is not None:
            editor = self.query_one("#editor", SqlEditor)
            editor.text = chosen
            editor.focus()

    @work(group=DIALOG)
    @told
    async def action_save(self) -> None:
        """Save the query under a name."""
        sql = self.query_one("#editor", SqlEditor).text.strip()
        if not sql:
            self.workbench.tell("There is no query to save.", severity="information")
            return
        name = await self.app.push_screen_wait(AskScreen("Save this query under which name?"))
        if name:
            await self.ask(lambda workspace: workspace.sql.save(name, sql))
            self.workbench.tell(f"Saved as {name}; ctrl+g finds it.", severity="information")

    @work(group=DIALOG)
    @told
    async def action_export(self) -> None:
        """Write all rows of the last query, or of the editor's, to a file."""
        sql = self._ran or self.query_one("#editor", SqlEditor).text.strip()
        if not sql:
            self.workbench.tell("Run a query first; its rows are what is exported.", severity="information")
            return
        path = await self.app.push_screen_wait(
            AskScreen(
                "Write the rows to which file?",
                self._last_export or "result.csv",
                "Ends in .csv, .tsv, .parquet, .json or .jsonl.",
            )
        )
        if not path:
            return
        self._last_export = path
        self.say(Content.styled("exporting …", "$primary"))
        try:
            rows = await self.ask(lambda workspace: workspace.sql.export(sql, expanded(path)))
        except Exception as error:
            self.say(error_sentence(error, self.workbench.explain(error)))
            return
        self.say(Content(f"{counted(rows, 'row')} written to {safe_line(path, 200)}."))

    def on_data_table_cell_selected(self, event: DataTable.CellSelected) -> None:
        """⏎ on a cell shows the whole value."""
        from workbench.screens.sql_history import ValueScreen
        from workbench.screens.sql_results import ResultTable

        if isinstance(event.data_table, ResultTable):
            self.app.push_screen(ValueScreen(*event.data_table.full_text()))


def fetch(workspace: Workspace, sql: str, unlocked: bool) -> tuple[Result, SafeBackend]:
    """Run a query and make its rows ready to draw, all in one thread."""
    result = workspace.sql.run(sql, unlocked, SHOWN_ROWS)
    from workbench.screens.sql_results import measured

    return result, measured(readable(result.table))


def readable(table: pyarrow.Table) -> pyarrow.Table:
    """The plan that EXPLAIN gives in one cell, as one row a line."""
    if table.column_names != ["explain_key", "explain_value"]:
        return table
    import pyarrow as pa

    lines = [line for text in table["explain_value"].to_pylist() for line in str(text).splitlines()]
    return pa.table({"plan": pa.array(lines, pa.string())})


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return name if name.isidentifier() and name == name.lower() else '"' + name.replace('"', '""') + '"'


def expanded(path: str) -> str:
    """A path with the home folder in place of ~."""
    from pathlib import Path

    return str(Path(path).expanduser())
