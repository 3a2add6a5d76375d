"""The SQL screen on a real store in memory, and its texts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from textual.pilot import Pilot
from textual.widgets import TextArea, Tree

from tests.workbench.ui_runs.drawn import assert_harmless, drawn
from tests.workbench.ui_runs.fakes import HOSTILE, FakeSql, workspace
from tests.workbench.ui_runs.waiting import until
from workbench.app import WorkbenchApp
from workbench.screens.sql import quoted
from workbench.screens.sql_results import ResultTable
from workbench.services.workspace import Workspace
from workbench.settings import Settings


@pytest.fixture
def real() -> Iterator[Workspace]:
    with Workspace.open(Settings(":memory:", "ada")) as opened:
        yield opened


async def open_sql(pilot: Pilot[Any], query: str = "") -> TextArea:
    await pilot.press("f7")
    await until(pilot, lambda: bool(pilot.app.screen.query("#editor")))
    await until(pilot, lambda: bool(pilot.app.screen.query_one(Tree).root.children))
    editor: TextArea = pilot.app.screen.editor  # type: ignore[attr-defined]
    if query:
        editor.text = query
    return editor


async def test_a_query_runs_and_its_rows_show(real: Workspace) -> None:
    app = WorkbenchApp(real)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_sql(pilot, "SELECT 41 + 1 AS answer, 'word' AS text")
        await pilot.press("f9")
        await until(pilot, lambda: "1 row" in drawn(app) and "42" in drawn(app))
        assert "read-only" in drawn(app)


async def test_tables_and_views_are_listed_with_their_columns_and_inserted(real: Workspace) -> None:
    app = WorkbenchApp(real)
    async with app.run_test(size=(80, 24)) as pilot:
        editor = await open_sql(pilot)
        editor.text = ""
        names = [str(node.data) for node in app.screen.query_one(Tree).root.children]
        assert {"prompts", "judgements", "preference_pairs", "run_summary"} <= set(names)
        await pilot.press("ctrl+t", "enter")
        await until(pilot, lambda: editor.text == f"SELECT * FROM {names[0]} LIMIT 100")


async def test_an_error_is_one_sentence_with_its_place_and_the_cursor_goes_there(real: Workspace) -> None:
    app = WorkbenchApp(real)
    async with app.run_test(size=(80, 24)) as pilot:
        editor = await open_sql(pilot, "SELECT 1,\n  nothing_here\nFROM prompts")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "Line 2, column 3" in drawn(app))
        assert editor.cursor_location == (1, 2)
        assert editor.fault == (1, 2, len("  nothing_here"))  # type: ignore[attr-defined]
        await pilot.press("x")
        await until(pilot, lambda: "Line 2" not in drawn(app))
        assert editor.fault is None  # type: ignore[attr-defined]


async def test_an_earlier_result_does_not_stand_under_an_error(real: Workspace) -> None:
    app = WorkbenchApp(real)
    async with app.run_test(size=(80, 24)) as pilot:
        editor = await open_sql(pilot, "SELECT 'the first' AS word")
        await pilot.press("f9")
        await until(pilot, lambda: bool(app.screen.query(ResultTable)))
        editor.text = "SELECT nothing FROM prompts"
        await pilot.press("f9")
        await until(pilot, lambda: "No result" in drawn(app))
        assert not app.screen.query(ResultTable)


async def test_a_question_of_the_gallery_asks_for_its_parameters(real: Workspace) -> None:
    app = WorkbenchApp(real)
    async with app.run_test(size=(100, 30)) as pilot:
        editor = await open_sql(pilot)
        await pilot.press("ctrl+g")
        await until(pilot, lambda: "questions and history" in drawn(app))
        await pilot.press(*"surest", "enter")
        await until(pilot, lambda: "$reward_model" in editor.text)
        await pilot.press("f9")
        await until(pilot, lambda: "Values for the query" in drawn(app))
        await pilot.press(*"it's", "enter")
        await until(pilot, lambda: "0 rows" in drawn(app))
        assert "$reward_model" in editor.text


async def test_a_word_is_completed(real: Workspace) -> None:
    app = WorkbenchApp(real)
    async with app.run_test(size=(80, 24)) as pilot:
        editor = await open_sql(pilot)
        await until(pilot, lambda: bool(editor.completer.functions))  # type: ignore[attr-defined]
        await pilot.press("ctrl+k", *"from prefer")
        await until(pilot, lambda: editor.suggestion == "ence_ties")
        await pilot.press("right")
        assert editor.text == "from preference_ties"


async def test_a_cell_is_copied_without_controls(real: Workspace) -> None:
    app = WorkbenchApp(real)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_sql(pilot, "SELECT 'a' || chr(27) || ']52;c;x' || chr(7) || 'b' AS word")
        await pilot.press("f9")
        await until(pilot, lambda: bool(app.screen.query(ResultTable)))
        app.screen.query_one(ResultTable).focus()
        await pilot.press("ctrl+c")
        await until(pilot, lambda: bool(app.clipboard))
        assert (app.clipboard[0], app.clipboard[-1]) == ("a", "b")
        assert not {"\x1b", "\x07"} & set(app.clipboard)


async def test_writing_is_refused_until_it_is_unlocked(real: Workspace) -> None:
    app = WorkbenchApp(real)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_sql(pilot, "DELETE FROM saved_queries")
        await pilot.press("f9")
        await until(pilot, lambda: "read-only and DELETE" in drawn(app))
        await pilot.press("ctrl+l")
        await until(pilot, lambda: "Unlock the session?" in drawn(app))
        await pilot.press("y")
        await until(pilot, lambda: "UNLOCKED" in drawn(app))
        await pilot.press("f9")
        await until(pilot, lambda: "1 row" in drawn(app))
        await pilot.press("ctrl+l")
        await until(pilot, lambda: "UNLOCKED" not in drawn(app))


async def test_a_running_query_is_cancelled_by_escape(real: Workspace) -> None:
    app = WorkbenchApp(real)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_sql(pilot, "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b")
        await pilot.press("f9")
        await until(pilot, lambda: "running" in drawn(app))
        await pilot.press("escape")
        await until(pilot, lambda: "was cancelled" in drawn(app))


async def test_more_rows_than_are_shown_are_told(real: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.services.sql.MOST_ROWS", 1000)
    app = WorkbenchApp(real)
    async with app.run_test(size=(120, 24)) as pilot:
        await open_sql(pilot, "SELECT range AS n FROM range(300000)")
        await pilot.press("f9")
        await until(pilot, lambda: "first 1,000 rows" in drawn(app))
        assert app.screen.query_one(ResultTable).row_count == 1000


async def test_all_rows_are_exported(real: Workspace, tmp_path: Path) -> None:
    app = WorkbenchApp(real)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_sql(pilot, "SELECT range AS n FROM range(3000)")
        await pilot.press("f9")
        await until(pilot, lambda: "3,000 rows" in drawn(app))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "Write the rows to which file?" in drawn(app))
        target = tmp_path / "rows.parquet"
        app.screen.query_one("Input").value = str(target)  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, lambda: "3,000 rows written" in drawn(app))
        assert pq.read_table(target).num_rows == 3000


async def test_history_and_saved_queries_come_back(real: Workspace) -> None:
    app = WorkbenchApp(real)
    async with app.run_test(size=(80, 24)) as pilot:
        editor = await open_sql(pilot, "SELECT 'kept' AS word")
        await pilot.press("f9")
        await until(pilot, lambda: "1 row" in drawn(app))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "under which name" in drawn(app))
        await pilot.press(*"mine", "enter")
        await until(pilot, lambda: bool(app.screen.query("#editor")))
        editor.text = "SELECT 2"
        await pilot.press("ctrl+g")
        await until(pilot, lambda: "Saved queries, questions and history" in drawn(app))
        assert "mine" in drawn(app)
        await pilot.press(*"kept", "enter")
        await until(pilot, lambda: editor.text == "SELECT 'kept' AS word")


async def test_hostile_cells_names_and_errors_are_drawn_as_text() -> None:
    texts = [text.replace("\ud83d", "?") for text in HOSTILE]
    sql = FakeSql(pa.table({text: [text] for text in texts}))
    app = WorkbenchApp(workspace(sql=sql))
    async with app.run_test(size=(200, 24)) as pilot:
        await open_sql(pilot, "\n".join(HOSTILE))
        await pilot.press("f9")
        await until(pilot, lambda: bool(app.screen.query(ResultTable)))
        assert_harmless(drawn(app))
        app.screen.query_one(ResultTable).focus()
        await pilot.press("enter")
        await pilot.pause(0.3)
        assert_harmless(drawn(app))
        await pilot.press("escape")
        sql.error = OSError(" ".join(HOSTILE))
        await pilot.press("f9")
        await until(pilot, lambda: "closes nothing" in drawn(app))
        assert_harmless(drawn(app))


def test_names_are_quoted_where_sql_needs_it() -> None:
    assert [quoted(name) for name in ("prompts", "Odd", 'a"b')] == ["prompts", '"Odd"', '"a""b"']


async def test_ctrl_k_empties_the_last_editor_and_can_be_undone() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(80, 24)) as pilot:
        editor = await open_sql(pilot)
        before = editor.text
        await pilot.press("ctrl+k")
        assert editor.text == ""
        await pilot.press("ctrl+z")
        assert editor.text == before
        await pilot.press("ctrl+k", *"SELECT")
        assert editor.text == "SELECT"


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
    app = WorkbenchApp(workspace(sql=WaitingSql(pa.table({"word": ["beside"]}))))
    async with app.run_test(size=(120, 30)) as pilot:
        first = await open_sql(pilot, "select * from wait")
        screen: Any = app.screen
        await pilot.press("f9")
        await until(pilot, lambda: "running" in drawn(app))
        await pilot.press("ctrl+n", *"select 1", "f9")
        await until(pilot, lambda: "1 row" in drawn(app) and "beside" in drawn(app))
        assert " 1 wait… " in drawn(app)
        assert " 2 query " in drawn(app)
        await pilot.press("ctrl+b")
        assert screen.editor is first
        assert "running" in drawn(app)
        assert "beside" not in drawn(app)
        await pilot.press("escape")
        await until(pilot, lambda: "1 row" in drawn(app) and "beside" in drawn(app))
        await pilot.press("ctrl+b", "tab")
        assert app.focused is screen.tab.result
        await pilot.press("ctrl+k")
        await until(pilot, lambda: screen.editor is first and "select 1" not in drawn(app))
        await pilot.press("ctrl+n", *"never run", "ctrl+k")
        await until(pilot, lambda: "would be lost" in drawn(app))
        await pilot.press("n", "ctrl+k", "y")
        await until(pilot, lambda: screen.editor is first)


async def test_rows_show_while_others_come_and_those_that_came_stay(
    real: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.services.result_rows.IN_MEMORY", 100_000)
    app = WorkbenchApp(real)
    async with app.run_test(size=(120, 24)) as pilot:
        # A little work a row: the twenty million where a result ends take longer than any look at the screen.
        work = "sha256(sha256(range::VARCHAR))"
        await open_sql(pilot, f"SELECT range AS n FROM range(10000000000) WHERE {work} > '0'")
        await pilot.press("f9")
        await until(pilot, lambda: "rows so far" in drawn(app))
        table = app.screen.query_one(ResultTable)
        await until(pilot, lambda: table.row_count > 30_000)
        await pilot.press("escape")
        await until(pilot, lambda: "stopped before the end" in drawn(app))
        table.focus()
        await pilot.press("ctrl+end")
        last = table.row_count - 1
        assert table.cursor_row == last
        assert str(last) in drawn(app)
        assert table.full_text() == ("n", str(last))


async def test_the_place_of_an_error_is_marked_in_what_was_selected(real: Workspace) -> None:
    app = WorkbenchApp(real)
    async with app.run_test(size=(80, 24)) as pilot:
        editor: Any = await open_sql(pilot, "SELECT 1;\n  SELECT 2;\nSELECT $word, nothing")
        editor.select_line(2)
        await pilot.press("f9")
        await until(pilot, lambda: "Values for the query" in drawn(app))
        await pilot.press(*"a longer word", "enter")
        await until(pilot, lambda: "Line 3, column 15" in drawn(app))
        assert editor.fault == (2, 14, 21)


async def test_columns_are_charted_and_others_chosen(real: Workspace) -> None:
    app = WorkbenchApp(real)
    async with app.run_test(size=(80, 24)) as pilot:
        query = "SELECT range AS step, range ^ 2 AS loss, 'run ' || (range % 2) AS run FROM range(100)"
        await open_sql(pilot, query)
        await pilot.press("f9")
        await until(pilot, lambda: bool(app.screen.query(ResultTable)))
        app.screen.query_one(ResultTable).focus()
        await pilot.press("right", "c")
        await until(pilot, lambda: "loss over step" in drawn(app))
        await pilot.press("s")
        await until(pilot, lambda: "by run" in drawn(app) and "run 1" in drawn(app))
        await pilot.press("X")
        await until(pilot, lambda: "loss over row" in drawn(app))
        await pilot.press("X")
        await until(pilot, lambda: "loss over run" in drawn(app) and "60 rows more" in drawn(app))
        assert "█" in drawn(app)
        await pilot.press("escape")
        await until(pilot, lambda: bool(app.screen.query(ResultTable)))


async def test_a_row_and_a_whole_cell_are_copied(real: Workspace) -> None:
    app = WorkbenchApp(real)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_sql(pilot, "SELECT 1 AS n, {'a': [1, 2]} AS nested")
        await pilot.press("f9")
        await until(pilot, lambda: bool(app.screen.query(ResultTable)))
        app.screen.query_one(ResultTable).focus()
        await pilot.press("y")
        assert app.clipboard == '{"n": 1, "nested": {"a": [1, 2]}}'
        await until(pilot, lambda: "Copied: row, 33 characters" in drawn(app))
        await pilot.press("right", "enter")
        await until(pilot, lambda: "c copies" in drawn(app))
        await pilot.press("c")
        assert app.clipboard == '{\n  "a": [\n    1,\n    2\n  ]\n}'


async def test_a_saved_query_is_forgotten_after_a_question(real: Workspace) -> None:
    real.sql.save("mine", "SELECT 'kept' AS word")
    app = WorkbenchApp(real)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_sql(pilot)
        await pilot.press("ctrl+g")
        await until(pilot, lambda: "mine" in drawn(app))
        await pilot.press("ctrl+d")
        await until(pilot, lambda: "Forget the saved query" in drawn(app))
        await pilot.press("y")
        await until(pilot, lambda: not real.sql.saved())
        await until(pilot, lambda: "mine" not in drawn(app))
