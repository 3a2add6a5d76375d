"""The result table: hostile cells, large results, what a cell says."""

from __future__ import annotations

import time
from datetime import datetime
from decimal import Decimal

import pyarrow as pa
from textual.app import App, ComposeResult

from tests.workbench.ui_runs.drawn import assert_harmless, drawn
from tests.workbench.ui_runs.fakes import HOSTILE
from workbench.screens.sql.results import ResultTable, harmless, measured
from workbench.services.sql.result_rows import ResultRows

ARROW_HOSTILE = tuple(text.replace("\ud83d", "?") for text in HOSTILE)  # Arrow holds no lone surrogates


class TableApp(App[None]):
    def __init__(self, table: pa.Table) -> None:
        super().__init__()
        self.result = table

    def compose(self) -> ComposeResult:
        yield ResultTable(measured(ResultRows.of(self.result)))


async def test_hostile_cells_and_column_names_draw_literally() -> None:
    columns = {text: pa.array([text, None]) for text in ARROW_HOSTILE}
    columns["nested"] = pa.array([{"a": list(ARROW_HOSTILE)}, None])
    columns["empty"] = pa.array([None, None])
    app = TableApp(pa.table(columns))
    async with app.run_test(size=(300, 12)) as pilot:
        await pilot.pause()
        text = drawn(app)
        assert_harmless(text)
        assert "[/foo] closes nothing" in text
        for key in ("right", "right", "right", "down", "end"):
            await pilot.press(key)
        assert_harmless(drawn(app))


async def test_half_a_million_rows_open_at_once() -> None:
    rows = 500_000
    table = pa.table({"n": pa.array(range(rows)), "text": pa.array(["word"] * rows)})
    app = TableApp(table)
    started = time.perf_counter()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        opened = time.perf_counter() - started
        await pilot.press("ctrl+end")
        await pilot.pause()
        assert "499999" in drawn(app)
    assert opened < 5


def test_cells_say_what_they_hold() -> None:
    values = [None, True, 3, Decimal("1.50"), 0.30000000000000004, datetime(2026, 3, 4, 9, 30), [1, 2]]
    shown = [harmless(value).plain for value in values]
    assert shown == ["–", "true", "3", "1.50", "0.3", "2026-03-04 09:30:00", "[1, 2]"]


async def test_the_whole_value_is_at_hand_and_copied_without_control_characters() -> None:
    app = TableApp(pa.table({"text": ["\x1b]52;" + "x" * 5000]}))
    async with app.run_test() as pilot:
        await pilot.pause()
        table = app.query_one(ResultTable)
        assert table.full_text() == ("text", "\x1b]52;" + "x" * 5000)
        await pilot.press("ctrl+c")
        assert app.clipboard.endswith("x" * 5000)
        assert "\x1b" not in app.clipboard
