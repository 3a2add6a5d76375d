"""Rows of a result: in memory and in their file, read back in any order, and given up."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import DiskFullError
from workbench.services.sql import result_rows
from workbench.services.sql.result_rows import ResultRows, RowsClosedError
from workbench.services.workspace import Workspace


def batch(start: int, count: int) -> pa.RecordBatch:
    numbers = pa.array(range(start, start + count), pa.int64())
    words = pa.array([f"word {n % 3}" for n in range(start, start + count)]).dictionary_encode()
    return pa.RecordBatch.from_arrays([numbers, words], ["n", "word"])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(0, 2_000), st.data())
def test_every_row_is_read_back_from_wherever_it_is(
    sizes: list[int], memory: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result_rows, "IN_MEMORY", memory)
        patch.setattr(result_rows, "READ_BACK", 2)
        rows = ResultRows(batch(0, 1).schema)
        for size in sizes:
            rows.add(batch(len(rows), size))
        assert len(rows) == sum(sizes)
        for wanted in data.draw(st.lists(st.integers(0, sum(sizes) - 1), max_size=10)):
            number, place = rows.place(wanted)
            row = rows.batch(number).slice(place, 1).to_pylist()[0]
            assert row == {"n": wanted, "word": f"word {wanted % 3}"}
        assert sum(each.num_rows for each in rows.batches()) == sum(sizes)
        rows.close()


def test_a_file_has_no_name_and_ends_with_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_rows, "IN_MEMORY", 0)
    rows = ResultRows(batch(0, 1).schema, tmp_path)
    rows.add(batch(0, 10))
    assert list(tmp_path.iterdir()) == []
    rows.close()
    with pytest.raises(RowsClosedError):
        rows.add(batch(10, 10))
    with pytest.raises(RowsClosedError):
        rows.batch(0)


def test_a_full_disk_ends_a_result_and_keeps_what_came(
    filled: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_rows, "IN_MEMORY", 200_000)

    def full() -> None:
        raise DiskFullError("The disk is full: nothing more can be written.")

    monkeypatch.setattr(filled.store, "leave_room", full)
    came: list[ResultRows] = []
    fetched = filled.sql.question("SELECT * FROM range(1000000)").rows(came.append)
    assert fetched.stopped.startswith("The disk is full")
    assert 0 < len(came[0]) < 1_000_000
