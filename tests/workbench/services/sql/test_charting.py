"""What a chart draws of a result's columns."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from workbench.services.sql import charting
from workbench.services.sql.charting import Charted, drawn, kinds, suggested
from workbench.services.sql.result_rows import ResultRows


def rows(**columns: Any) -> ResultRows:
    return ResultRows.of(pa.table({name: pa.array(values) for name, values in columns.items()}))


def test_columns_are_known_by_what_they_hold() -> None:
    found = rows(n=[1], x=[0.5], yes=[True], at=[datetime(2026, 3, 4)], word=["a"], nested=[[1]])
    assert kinds(found.schema) == ["number", "number", "number", "time", "word", "other"]


def test_two_columns_of_numbers_are_a_line_where_the_first_only_rises() -> None:
    chart = drawn(rows(step=[1, 2, 3], loss=[3.0, None, 1.0]), Charted(0, 1))
    assert chart.joined
    assert chart.lines[0].points == [(1.0, 3.0), (3.0, 1.0)]
    assert "1 row without a value" in chart.note
    assert not drawn(rows(step=[2, 1], loss=[1, 2]), Charted(0, 1)).joined


def test_moments_are_seconds_and_the_row_is_a_number_from_one() -> None:
    found = rows(at=[datetime(1970, 1, 1, 0, 1), datetime(1970, 1, 2)], n=[5, 6])
    assert drawn(found, Charted(0, 1)).lines[0].points == [(60.0, 5.0), (86_400.0, 6.0)]
    assert drawn(found, Charted(None, 1)).lines[0].points == [(1.0, 5.0), (2.0, 6.0)]


def test_runs_are_told_apart_by_the_column_that_makes_lines_of_them() -> None:
    found = rows(run=["a", "a", "b", "b"], step=[1, 2, 1, 2], loss=[4, 3, 2, 1])
    assert suggested(found, 2) == Charted(1, 2, 0)
    assert suggested(found, 0) == Charted(0, 2)  # on a name, with few rows: bars
    more = rows(run=["a"] * 50 + ["b"] * 50, step=[*range(50)] * 2, loss=[*range(100)])
    choice = suggested(more, 2)
    assert choice == Charted(1, 2, 0)
    assert [(line.name, len(line.points)) for line in drawn(more, choice).lines] == [("a", 50), ("b", 50)]


def test_names_are_bars_and_what_is_not_drawn_is_said() -> None:
    found = rows(policy=[f"p{n}" for n in range(60)], score=[None, *range(59)])
    chart = drawn(found, Charted(0, 1))
    assert chart.bars[:2] == (("p0", None), ("p1", 0.0))
    assert len(chart.bars) == charting.BARS
    assert chart.note == "20 rows more not drawn."


def test_a_result_without_numbers_has_no_chart() -> None:
    assert suggested(rows(word=["a"]), 0) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9_000))
def test_a_long_line_keeps_its_ends_and_its_peaks(values: list[float]) -> None:
    points = drawn(rows(y=values), Charted(None, 0)).lines[0].points
    assert len(points) <= 2 * charting.BUCKETS
    assert {min(values), max(values)} <= {y for _, y in points}
    assert [x for x, _ in points] == sorted(x for x, _ in points)
