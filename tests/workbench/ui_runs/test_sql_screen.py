"""The SQL screen on a real store in memory, and its texts."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from textual.pilot import Pilot
from textual.widgets import Tree

from tests.workbench.ui_runs.drawn import assert_harmless, drawn
from tests.workbench.ui_runs.fakes import HOSTILE, FakeSql, workspace
from tests.workbench.ui_runs.waiting import until
from workbench.app import WorkbenchApp
from workbench.screens.sql.results import ResultTable
from workbench.screens.sql.screen import quoted
from workbench.services.workspace import Workspace
from workbench.settings import Settings


@pytest.fixture
def real() -> Iterator[Workspace]:
    with Workspace.open(Settings(":memory:", "ada")) as opened:
        yield opened


class Sql:
    """The SQL screen of an application that runs."""

    def __init__(self, pilot: Pilot[Any]) -> None:
        self.pilot, self.app, self.press = pilot, pilot.app, pilot.press

    @property
    def screen(self) -> Any:
        return self.app.screen

    @property
    def editor(self) -> Any:
        """That of the tab in front."""
        return self.screen.editor

    @property
    def table(self) -> ResultTable:
        return self.screen.query_one(ResultTable)  # type: ignore[no-any-return]

    async def until(self, condition: Callable[[], Any]) -> None:
        await until(self.pilot, condition)

    async def shows(self, *texts: str) -> None:
        """Wait until all of them are drawn."""
        await self.until(lambda: all(text in drawn(self.app) for text in texts))

    async def run(self, *texts: str) -> None:
        """Run what is in the editor and wait until all of `texts` are drawn."""
        await self.press("f9")
        await self.shows(*texts)

    async def rows(self) -> ResultTable:
        """Run what is in the editor and go to its rows."""
        await self.press("f9")
        await self.until(lambda: bool(self.screen.query(ResultTable)))
        self.table.focus()
        return self.table


@asynccontextmanager
async def opened(
    workspace: Any, query: str | None = None, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Sql]:
    """The screen with its tables listed and, if there is one, with a query in its editor."""
    async with WorkbenchApp(workspace).run_test(size=size) as pilot:
        sql = Sql(pilot)
        await pilot.press("f7")
        await sql.until(lambda: bool(sql.screen.query("#editor")))
        await sql.until(lambda: bool(sql.screen.query_one(Tree).root.children))
        if query is not None:
            sql.editor.text = query
        yield sql


async def test_a_query_runs_and_its_rows_show(real: Workspace) -> None:
    async with opened(real, "SELECT 41 + 1 AS answer, 'word' AS text") as sql:
        await sql.run("1 row", "42")
        assert "read-only" in drawn(sql.app)


async def test_tables_and_views_are_listed_with_their_columns_and_inserted(real: Workspace) -> None:
    async with opened(real) as sql:
        sql.editor.text = ""
        names = [str(node.data) for node in sql.screen.query_one(Tree).root.children]
        assert {"prompts", "judgements", "preference_pairs", "run_summary"} <= set(names)
        await sql.press("ctrl+t", "enter")
        await sql.until(lambda: sql.editor.text == f"SELECT * FROM {names[0]} LIMIT 100")


async def test_an_error_is_one_sentence_with_its_place_and_the_cursor_goes_there(real: Workspace) -> None:
    async with opened(real, "SELECT 1,\n  nothing_here\nFROM prompts") as sql:
        await sql.press("ctrl+r")
        await sql.shows("Line 2, column 3")
        assert sql.editor.cursor_location == (1, 2)
        assert sql.editor.fault == (1, 2, len("  nothing_here"))
        await sql.press("x")
        await sql.until(lambda: "Line 2" not in drawn(sql.app))
        assert sql.editor.fault is None


async def test_an_earlier_result_does_not_stand_under_an_error(real: Workspace) -> None:
    async with opened(real, "SELECT 'the first' AS word") as sql:
        await sql.rows()
        sql.editor.text = "SELECT nothing FROM prompts"
        await sql.run("No result")
        assert not sql.screen.query(ResultTable)


async def test_a_question_of_the_gallery_asks_for_its_parameters(real: Workspace) -> None:
    async with opened(real, size=(100, 30)) as sql:
        await sql.press("ctrl+g")
        await sql.shows("questions and history")
        await sql.press(*"surest", "enter")
        await sql.until(lambda: "$reward_model" in sql.editor.text)
        await sql.run("Values for the query")
        await sql.press(*"it's", "enter")
        await sql.shows("0 rows")
        assert "$reward_model" in sql.editor.text


async def test_a_word_is_completed(real: Workspace) -> None:
    async with opened(real) as sql:
        await sql.until(lambda: bool(sql.editor.completer.functions))
        await sql.press("ctrl+k", *"from prefer")
        await sql.until(lambda: sql.editor.suggestion == "ence_ties")
        await sql.press("right")
        assert sql.editor.text == "from preference_ties"


async def test_a_cell_is_copied_without_controls(real: Workspace) -> None:
    async with opened(real, "SELECT 'a' || chr(27) || ']52;c;x' || chr(7) || 'b' AS word") as sql:
        await sql.rows()
        await sql.press("ctrl+c")
        await sql.until(lambda: bool(sql.app.clipboard))
        assert (sql.app.clipboard[0], sql.app.clipboard[-1]) == ("a", "b")
        assert not {"\x1b", "\x07"} & set(sql.app.clipboard)


async def test_writing_is_refused_until_it_is_unlocked(real: Workspace) -> None:
    async with opened(real, "DELETE FROM saved_queries") as sql:
        await sql.run("read-only and DELETE")
        await sql.press("ctrl+l")
        await sql.shows("Unlock the session?")
        await sql.press("y")
        await sql.shows("UNLOCKED")
        await sql.run("1 row")
        await sql.press("ctrl+l")
        await sql.until(lambda: "UNLOCKED" not in drawn(sql.app))


async def test_a_running_query_is_cancelled_by_escape(real: Workspace) -> None:
    async with opened(real, "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b") as sql:
        await sql.run("running")
        await sql.press("escape")
        await sql.shows("was cancelled")


async def test_more_rows_than_are_shown_are_told(real: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.services.sql.sql.MOST_ROWS", 1000)
    async with opened(real, "SELECT range AS n FROM range(300000)", (120, 24)) as sql:
        await sql.run("first 1,000 rows")
        assert sql.table.row_count == 1000


async def test_all_rows_are_exported(real: Workspace, tmp_path: Path) -> None:
    async with opened(real, "SELECT range AS n FROM range(3000)") as sql:
        await sql.run("3,000 rows")
        await sql.press("ctrl+o")
        await sql.shows("Write the rows to which file?")
        target = tmp_path / "rows.parquet"
        sql.screen.query_one("Input").value = str(target)
        await sql.press("enter")
        await sql.shows("3,000 rows written")
        assert pq.read_table(target).num_rows == 3000


async def test_history_and_saved_queries_come_back(real: Workspace) -> None:
    async with opened(real, "SELECT 'kept' AS word") as sql:
        await sql.run("1 row")
        await sql.press("ctrl+s")
        await sql.shows("under which name")
        await sql.press(*"mine", "enter")
        await sql.until(lambda: bool(sql.screen.query("#editor")))
        sql.editor.text = "SELECT 2"
        await sql.press("ctrl+g")
        await sql.shows("Saved queries, questions and history")
        assert "mine" in drawn(sql.app)
        await sql.press(*"kept", "enter")
        await sql.until(lambda: sql.editor.text == "SELECT 'kept' AS word")


async def test_hostile_cells_names_and_errors_are_drawn_as_text() -> None:
    texts = [text.replace("\ud83d", "?") for text in HOSTILE]
    answers = FakeSql(pa.table({text: [text] for text in texts}))
    async with opened(workspace(sql=answers), "\n".join(HOSTILE), (200, 24)) as sql:
        await sql.rows()
        assert_harmless(drawn(sql.app))
        await sql.press("enter")
        await sql.pilot.pause(0.3)
        assert_harmless(drawn(sql.app))
        await sql.press("escape")
        answers.error = OSError(" ".join(HOSTILE))
        await sql.run("closes nothing")
        assert_harmless(drawn(sql.app))


def test_names_are_quoted_where_sql_needs_it() -> None:
    assert [quoted(name) for name in ("prompts", "Odd", 'a"b')] == ["prompts", '"Odd"', '"a""b"']


async def test_ctrl_k_empties_the_last_editor_and_can_be_undone() -> None:
    async with opened(workspace()) as sql:
        before = sql.editor.text
        await sql.press("ctrl+k")
        assert sql.editor.text == ""
        await sql.press("ctrl+z")
        assert sql.editor.text == before
        await sql.press("ctrl+k", *"SELECT")
        assert sql.editor.text == "SELECT"


class WaitingSql(FakeSql):
    """A query that says `wait` gives its rows once it is cancelled, or fails then."""

    def question(self, sql: str, *, unlocked: bool = False) -> Any:
        question = super().question(sql, unlocked=unlocked)
        if "wait" in sql:
            ended, answer = threading.Event(), question.rows
            question.cancel = ended.set

            def rows(*heard: Any) -> Any:
                ended.wait(20)
                return answer(*heard)

            question.rows = rows
        return question


async def test_every_tab_has_its_query_and_its_rows() -> None:
    async with opened(
        workspace(sql=WaitingSql(pa.table({"word": ["beside"]}))), "select * from wait", (120, 30)
    ) as sql:
        first = sql.editor
        await sql.run("running")
        await sql.press("ctrl+n", *"select 1", "f9")
        await sql.shows("1 row", "beside")
        assert " 1 wait… " in drawn(sql.app)
        assert " 2 query " in drawn(sql.app)
        await sql.press("ctrl+b")
        assert sql.editor is first
        assert "running" in drawn(sql.app)
        assert "beside" not in drawn(sql.app)
        await sql.press("escape")
        await sql.shows("1 row", "beside")
        await sql.press("ctrl+b", "tab")
        assert sql.app.focused is sql.screen.tab.result
        await sql.press("ctrl+k")
        await sql.until(lambda: sql.editor is first and "select 1" not in drawn(sql.app))
        await sql.press("ctrl+n", *"never run", "ctrl+k")
        await sql.shows("would be lost")
        await sql.press("n", "ctrl+k", "y")
        await sql.until(lambda: sql.editor is first)


async def test_rows_show_while_others_come_and_those_that_came_stay(
    real: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.services.sql.result_rows.IN_MEMORY", 100_000)
    # A little work a row: the twenty million where a result ends take longer than any look at the screen.
    work = "sha256(sha256(range::VARCHAR))"
    query = f"SELECT range AS n FROM range(10000000000) WHERE {work} > '0'"
    async with opened(real, query, (120, 24)) as sql:
        await sql.run("rows so far")
        table = sql.table
        await sql.until(lambda: table.row_count > 30_000)
        await sql.press("escape")
        await sql.shows("stopped before the end")
        table.focus()
        await sql.press("ctrl+end")
        last = table.row_count - 1
        assert table.cursor_row == last
        assert str(last) in drawn(sql.app)
        assert table.full_text() == ("n", str(last))


async def test_the_place_of_an_error_is_marked_in_what_was_selected(real: Workspace) -> None:
    async with opened(real, "SELECT 1;\n  SELECT 2;\nSELECT $word, nothing") as sql:
        sql.editor.select_line(2)
        await sql.run("Values for the query")
        await sql.press(*"a longer word", "enter")
        await sql.shows("Line 3, column 15")
        assert sql.editor.fault == (2, 14, 21)


async def test_columns_are_charted_and_others_chosen(real: Workspace) -> None:
    query = "SELECT range AS step, range ^ 2 AS loss, 'run ' || (range % 2) AS run FROM range(100)"
    async with opened(real, query) as sql:
        await sql.rows()
        await sql.press("right", "c")
        await sql.shows("loss over step")
        await sql.press("s")
        await sql.shows("by run", "run 1")
        await sql.press("X")
        await sql.shows("loss over row")
        await sql.press("X")
        await sql.shows("loss over run", "60 rows more")
        assert "█" in drawn(sql.app)
        await sql.press("escape")
        await sql.until(lambda: bool(sql.screen.query(ResultTable)))


async def test_a_row_and_a_whole_cell_are_copied(real: Workspace) -> None:
    async with opened(real, "SELECT 1 AS n, {'a': [1, 2]} AS nested") as sql:
        await sql.rows()
        await sql.press("y")
        assert sql.app.clipboard == '{"n": 1, "nested": {"a": [1, 2]}}'
        await sql.shows("Copied: row, 33 characters")
        await sql.press("right", "enter")
        await sql.shows("c copies")
        await sql.press("c")
        assert sql.app.clipboard == '{\n  "a": [\n    1,\n    2\n  ]\n}'


async def test_a_saved_query_is_forgotten_after_a_question(real: Workspace) -> None:
    real.sql.save("mine", "SELECT 'kept' AS word")
    async with opened(real) as sql:
        await sql.press("ctrl+g")
        await sql.shows("mine")
        await sql.press("ctrl+d")
        await sql.shows("Forget the saved query")
        await sql.press("y")
        await sql.until(lambda: not real.sql.saved())
        await sql.until(lambda: "mine" not in drawn(sql.app))
