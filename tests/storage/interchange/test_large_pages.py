"""Parquet in pages that are larger than a reader should hold, and Arrow files that are mapped."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.errors import ImportFileError
from storage.interchange.containers import columnar, large_pages
from storage.interchange.containers.columnar import open_arrow, open_parquet
from storage.interchange.importing import import_file
from storage.store import Store

ROWS = 3000


def table() -> pa.Table:
    return pa.table(
        {
            "prompt": [f"{n}?" for n in range(ROWS)],
            "chosen": [f"{n} " + "yes " * 40 for n in range(ROWS)],
            "rejected": ["no" * (n % 30) or None for n in range(ROWS)],
            "tags": [[f"t{n % 7}"] * (n % 3) for n in range(ROWS)],
        }
    )


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with pages of half a megabyte and three groups, in a world where that is large."""
    monkeypatch.setattr(large_pages, "LARGE", 2**17)
    monkeypatch.setattr(columnar, "MOST_BYTES", 2**14)
    path = tmp_path / "a.parquet"
    pq.write_table(table(), path, row_group_size=1400, data_page_size=2**24, use_dictionary=False)
    return path


def test_the_rows_are_those_of_small_pages(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    monkeypatch.setattr(
        columnar, "one_column_at_a_time", lambda *a: used.append(1) or large_pages.one_column_at_a_time(*a)
    )
    assert [row for _, row in open_parquet(large).read()] == table().to_pylist()
    assert used
    monkeypatch.setattr(large_pages, "LARGE", 2**30)
    assert [number for number, _ in open_parquet(large).read()] == list(range(1, ROWS + 1))
    assert len(used) == 1


def test_a_look_at_the_first_rows_copies_nothing(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_pages, "_spool", None)
    rows = open_parquet(large).read()
    assert next(rows)[1]["prompt"] == "0?"
    rows.close()  # type: ignore[attr-defined]


def test_copies_lie_beside_the_store_and_are_gone_afterwards(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, places = large_pages._spool, []

    def spy(path: Path, *rest: object) -> None:
        places.append(path.parent.parent)
        spool(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(large_pages, "_spool", spy)
    with Store.open(tmp_path / "s.duckdb") as store:
        assert import_file(store, large).judgements.added == ROWS - ROWS // 30
        assert set(places) == {tmp_path / "s.duckdb.tmp"}
        assert list((tmp_path / "s.duckdb.tmp").glob("import-*")) == []


def test_a_full_disk_is_told_for_what_it_is(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(large_pages, "_spool", full)
    with pytest.raises(ImportFileError, match=r"copied into .* \(No space left on device\)"):
        list(open_parquet(large).read())


def test_copies_that_a_kill_has_left_are_removed(tmp_path: Path) -> None:
    left = tmp_path / "s.duckdb.tmp" / "import-x"
    left.mkdir(parents=True)
    (left / "0").write_text("x")
    Store.open(tmp_path / "s.duckdb").close()
    assert not left.exists()


def test_duckdb_writes_pages_that_are_found_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_pages, "LARGE", 2**21)
    duckdb.sql("SELECT repeat(md5(i::VARCHAR), 9) AS t FROM range(40000) r(i)").write_parquet(
        f"{tmp_path}/d.parquet"
    )
    small = {"data_page_size": 2**14, "use_dictionary": False}
    pq.write_table(pq.read_table(tmp_path / "d.parquet"), tmp_path / "p.parquet", **small)
    found = []
    for name in ("d.parquet", "p.parquet"):
        with pq.ParquetFile(tmp_path / name, pre_buffer=False, buffer_size=2**20) as file:
            found.append(large_pages.in_large_pages(file, 50))
    assert found == [True, False]


@pytest.mark.parametrize("stream", [True, False])
def test_a_mapped_file_is_read_whole_while_its_memory_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr(columnar, "MAPPED", 1000)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, new(sink, table().schema) as writer:
        writer.write_table(table(), max_chunksize=700)
    assert [row for _, row in open_arrow(tmp_path / "a.arrow").read()] == table().to_pylist()
