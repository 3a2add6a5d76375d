"""Where an error is, in the text that ran and in the text that a person wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import literals
from workbench.services.sql.places import fault_offset, in_written, line_and_column
from workbench.services.workspace import Workspace

MANY = ", ".join(f"{n} AS column_{n}" for n in range(30))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1,\n\n  nothing",
        "SELECT 1;\n\nSELECT nothing, 2",
        "SELECT 1; SELECT 1 WHERE nothing = 4; SELECT 3",
        "SELECT 'é日本\u0301', nothing",
        "SELECT\tnothing",
        f"SELECT {MANY}, nothing, {MANY}",
        f"SELECT 1;\n SELECT {MANY}, nothing, {MANY}",
    ],
)
def test_the_place_is_that_of_the_word(filled: Workspace, sql: str) -> None:
    with pytest.raises(Exception, match="nothing") as told:
        filled.sql.run(sql)
    assert fault_offset(told.value, sql) == sql.index("nothing")


def test_an_error_without_a_picture_has_no_place() -> None:
    assert fault_offset(ValueError("no picture"), "SELECT 1") is None


@given(
    st.lists(st.tuples(st.sampled_from(["$a", "$long_name", "x", "'$a'", "\n"]), st.text(" ,", max_size=3)))
)
def test_a_place_in_the_filled_text_is_found_again_in_the_written(parts: list[tuple[str, str]]) -> None:
    values = {"a": "it's a longer one", "long_name": 7}
    sql = "SELECT " + "".join(part + (space or " ") for part, space in parts) + " HERE"
    ran = literals.filled_in(sql, values)
    assert in_written(sql, values, ran.index("HERE")) == sql.index("HERE")
    for start, _, name in literals.places_of(sql):
        before = literals.filled_in(sql[:start], values)
        assert in_written(sql, values, len(before)) == start
        assert in_written(sql, values, len(before) + len(literals.literal(values[name])) - 1) == start


def test_lines_and_columns_count_from_nought() -> None:
    assert [line_and_column("ab\ncd", offset) for offset in (0, 2, 3, 5)] == [(0, 0), (0, 2), (1, 0), (1, 2)]
