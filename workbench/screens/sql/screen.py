"""F7: every table and view of the store, tabs with a query each, and results of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import TextArea, Tree

from workbench.keyboard import DIALOG
from workbench.messages import ShowQuery
from workbench.screens.base import WorkbenchScreen, told
from workbench.screens.sql.editor import SqlEditor
from workbench.screens.sql.tab import AskedSql, QueryTab
from workbench.screens.sql.text import column_label, relation_label
from workbench.services.sql.completing import Completer
from workbench.services.sql.values import parameters_of
from workbench.widgets.confirm import AskScreen, ConfirmScreen
from workbench.widgets.safe import safe_line

if TYPE_CHECKING:
    from textual_fastdatatable import DataTable

    from workbench.screens.sql.results import ResultTable

LOCKED = Content.assemble("read-only  ", ("ctrl+l", "$secondary"), " unlocks")
UNLOCKED = Content.styled(" UNLOCKED: SQL CAN WRITE · ctrl+l locks ", "bold $background on $error")
FIRST_QUERY = "SELECT * FROM run_summary LIMIT 100"
MOST_TABS = 9
LABEL_CELLS = 14


class SqlScreen(WorkbenchScreen):
    """Tree, editors, results; read-only until it is unlocked."""

    TITLE_TEXT = "SQL"
    LOOP = "Ask the store anything; every number on the other screens can be recomputed here."
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "#editor"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f9,ctrl+r", "run", "Run", key_display="F9", tooltip="Run what is selected, or else all"),
        Binding("escape", "cancel", "Cancel", show=False, tooltip="Cancel the query; else to the editor"),
        Binding("ctrl+g", "history", "Queries", tooltip="Saved queries, questions, and what was run"),
        Binding("ctrl+s", "save", "Save"),
        Binding("ctrl+o", "export", "Export", tooltip="Write all rows to CSV, Parquet or JSON"),
        Binding("ctrl+n", "new", "Tab", tooltip="A new tab"),
        Binding("ctrl+b", "next", "Next tab", show=False),
        Binding("ctrl+k", "close", "Close the tab; the last one is emptied", show=False),
        Binding("ctrl+l", "lock", "Unlock"),
        Binding("ctrl+t", "tree", "Tables", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.unlocked = False
        self._tabs: list[QueryTab] = []
        self._place = 0
        self._last_export = ""
        self._coming = ""  # a query that waits for the editor
        self._values: dict[str, str] = {}  # last given to parameters, by name
        self._completer = Completer()

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="sql"):
            tree: Tree[str] = Tree("store", id="relations", classes="pane")
            tree.show_root = False
            tree.guide_depth = 2
            tree.border_title = Content.assemble("Tables, ", ("views", "italic"))
            yield tree
            with Vertical(id="desk"):
                first = self._made(FIRST_QUERY)
                self._tabs = [first]
                yield first

    def _made(self, text: str) -> QueryTab:
        return QueryTab(text, UNLOCKED if self.unlocked else LOCKED)

    @property
    def tab(self) -> QueryTab:
        """The tab in front."""
        return self._tabs[self._place]

    @property
    def editor(self) -> SqlEditor:
        """The editor in front."""
        return self.tab.editor

    def on_mount(self) -> None:
        editor = self.editor
        if self._coming:
            editor.text, self._coming = self._coming, ""
        editor.select_all()  # F9 runs it, typing replaces it
        self._show_tabs()
        self.load_tree()

    def on_show_query(self, message: ShowQuery) -> None:
        self.show_query(message.sql)

    def show_query(self, sql: str, name: str = "") -> None:
        """Put a query into the editor, at once or as soon as there is one; ctrl+z brings back the old.

        `name` is that of a saved query or a question.
        """
        if not self.is_mounted:
            self._coming = sql
            return
        editor = self.editor
        editor.replace(sql, (0, 0), editor.document.end)
        editor.move_cursor((0, 0))
        editor.focus()
        self.tab.name_given = name
        self._show_tabs()

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
        self._completer = Completer(columns, functions)
        for tab in self._tabs:
            tab.editor.completer = self._completer
        self.call_after_refresh(tree.move_cursor_to_line, 0)

    @on(Tree.NodeSelected)
    def insert_name(self, event: Tree.NodeSelected[str]) -> None:
        """⏎ on a column writes its name; on a table opens it, and in an empty editor asks for its rows."""
        if event.node.data is None:
            return
        editor = self.editor
        name = quoted(event.node.data)
        if event.node.allow_expand:
            if not editor.text.strip():
                editor.text = f"SELECT * FROM {name} LIMIT 100"
        else:
            editor.insert(name)

    # -- running --------------------------------------------------------------------------------------------

    def action_run(self) -> None:
        """Run what is selected, or else everything in the editor."""
        tab, asked = self.tab, self.tab.written()
        if asked is None:
            tab.say(Content.styled("There is nothing to run yet.", "$foreground-muted"))
        elif tab.running:
            tab.say(Content("A query is running; esc cancels it."))
        else:
            self._with_values(asked, lambda found: self._run(tab, found))

    def _run(self, tab: QueryTab, asked: AskedSql) -> None:
        unlocked = self.unlocked

        def after() -> None:
            self._show_tabs()
            if unlocked:
                self.load_tree()
                self.workbench.refresh_status()

        tab.run_query(asked, unlocked=unlocked, after=after)
        self._show_tabs()

    def _with_values(self, asked: AskedSql, then: Callable[[AskedSql], object]) -> None:
        """Go on with the query, at once or with the values that a person gives its parameters."""
        if parameters_of(asked.written):
            self._ask_values(asked, then)
        else:
            then(asked)

    @work(group=DIALOG)
    @told
    async def _ask_values(self, asked: AskedSql, then: Callable[[AskedSql], object]) -> None:
        """Ask for the query's parameters, all in one dialog; esc leaves it."""
        from workbench.screens.sql.parameters import ParametersScreen

        names = parameters_of(asked.written)
        offered = await self.ask(lambda workspace: {name: workspace.sql.offered(name) for name in names})
        values = await self.app.push_screen_wait(ParametersScreen(names, self._values, offered))
        if values is not None:
            self._values |= values
            then(AskedSql(asked.written, asked.begins, values))

    def action_cancel(self) -> None:
        """Interrupt the running query; from the table or the tree, go back to the editor."""
        if not self.tab.cancel():
            self.editor.focus()

    # -- tabs -----------------------------------------------------------------------------------------------

    @work(group=DIALOG)
    @told
    async def action_new(self) -> None:
        """An empty tab behind the others."""
        if len(self._tabs) >= MOST_TABS:
            self.workbench.tell(f"{MOST_TABS} tabs are open; ctrl+k closes one.", severity="information")
            return
        tab = self._made("")
        await self.query_one("#desk").mount(tab)
        tab.editor.completer = self._completer
        self._tabs.append(tab)
        self._go(len(self._tabs) - 1)

    def action_next(self) -> None:
        """The next tab, round the end."""
        if len(self._tabs) > 1:
            self._go((self._place + 1) % len(self._tabs))
        else:
            self.workbench.tell("There is one tab; ctrl+n opens another.", severity="information")

    @work(group=DIALOG)
    @told
    async def action_close(self) -> None:
        """Close the tab, asking first where a query would be lost; the last one is emptied instead."""
        tab = self.tab
        if len(self._tabs) == 1:
            tab.name_given = ""
            tab.editor.clear()  # an edit, which ctrl+z takes back
            tab.editor.focus()
            return
        question = "Close this tab? Its query has not been run or saved and would be lost."
        if tab.left_behind and not await self.app.push_screen_wait(ConfirmScreen(question, "Close")):
            return
        place = self._tabs.index(tab)
        self._tabs.remove(tab)
        self._go(min(place, len(self._tabs) - 1))
        await tab.remove()

    def _go(self, place: int) -> None:
        self._place = place
        for tab in self._tabs:
            tab.display = tab is self.tab
        self.editor.focus()
        self._show_tabs()

    @on(TextArea.Changed, "#editor")
    def edited(self) -> None:
        """The tab is called after what its query reads."""
        if len(self._tabs) > 1:
            self._show_tabs()

    def _show_tabs(self) -> None:
        """Their numbers and names in the editor's border; one alone needs none."""
        title = Content("Query")
        if len(self._tabs) > 1:
            parts = []
            for place, tab in enumerate(self._tabs):
                mark = "…" if tab.running else ""
                label = f" {place + 1} {safe_line(tab.label, LABEL_CELLS)}{mark} "
                parts.append((label, "bold reverse" if tab is self.tab else "$foreground-muted"))
            title = Content.assemble(*parts)
        self.editor.border_title = title

    # -- the result -----------------------------------------------------------------------------------------

    def on_data_table_cell_selected(self, event: DataTable.CellSelected) -> None:
        """⏎ on a cell shows the whole value."""
        from workbench.screens.sql.history import ValueScreen
        from workbench.screens.sql.results import ResultTable

        if isinstance(event.data_table, ResultTable):
            self.app.push_screen(ValueScreen(*event.data_table.full_text()))

    def on_result_table_copied(self, event: ResultTable.Copied) -> None:
        """Say what was copied, for nothing else shows it."""
        self.tab.say(Content(f"Copied: {event.what}, {event.characters:,} characters."))

    def action_chart(self) -> None:
        """Draw columns of the result, that of the cursor first."""
        from workbench.screens.sql.chart import ChartScreen

        table = self.tab.result
        if table is not None:
            self.app.push_screen(ChartScreen(table.result, table.cursor_column))

    # -- keys -----------------------------------------------------------------------------------------------

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
        for tab in self._tabs:
            tab.editor.border_subtitle = UNLOCKED if self.unlocked else LOCKED
        self.set_class(self.unlocked, "-unlocked")

    @work(group=DIALOG)
    @told
    async def action_history(self) -> None:
        """Choose a query that was run or saved; it replaces what stands in the editor."""
        from workbench.screens.sql.history import HistoryScreen
        from workbench.services.sql.gallery import gallery

        saved = await self.ask(lambda workspace: workspace.sql.saved())
        history = await self.ask(lambda workspace: workspace.sql.history())
        chosen = await self.app.push_screen_wait(HistoryScreen(saved, history, gallery()))
        if chosen is not None:
            self.show_query(chosen.sql, chosen.name or "")

    @work(group=DIALOG)
    @told
    async def action_save(self) -> None:
        """Save the query under a name."""
        tab = self.tab
        sql = tab.editor.text.strip()
        if not sql:
            self.workbench.tell("There is no query to save.", severity="information")
            return
        asked = AskScreen(
            "Save this query under which name?", tab.name_given, "A word like $policy in it is asked for."
        )
        name = await self.app.push_screen_wait(asked)
        if name:
            await self.ask(lambda workspace: workspace.sql.save(name, sql))
            tab.name_given = name
            self._show_tabs()
            self.workbench.tell(f"Saved as {name}; ctrl+g finds it.", severity="information")

    def action_export(self) -> None:
        """Write all rows of the query that is shown, or of the editor's, to a file."""
        tab = self.tab
        asked = tab.ran or tab.written()
        if asked is None:
            self.workbench.tell("Run a query first; its rows are what is exported.", severity="information")
        elif tab.running:
            tab.say(Content("A query is running; esc cancels it."))
        elif asked.values:
            self._export(tab, asked)
        else:
            self._with_values(asked, lambda found: self._export(tab, found))

    @work(group=DIALOG)
    @told
    async def _export(self, tab: QueryTab, asked: AskedSql) -> None:
        question = AskScreen(
            "Write the rows to which file?",
            self._last_export or "result.csv",
            "Ends in .csv, .tsv, .parquet, .json or .jsonl.",
        )
        path = await self.app.push_screen_wait(question)
        if path:
            self._last_export = path
            tab.export(asked, expanded(path), path)


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return name if name.isidentifier() and name == name.lower() else '"' + name.replace('"', '""') + '"'


def expanded(path: str) -> str:
    """A path with the home folder in place of ~."""
    from pathlib import Path

    return str(Path(path).expanduser())
