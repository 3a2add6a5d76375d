"""A torn file of token traces hides no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import rollouts
from storage.console import Query
from storage.file.traces import torn_traces
from storage.store import Store


@pytest.mark.parametrize("left", [0, 3, 8, 100, -1])
def test_a_torn_file_hides_no_other(tmp_path: Path, left: int) -> None:
    with Store.open(tmp_path / "s.duckdb") as store:
        assert store.runs_root is not None
        for run in ("good", "bad"):
            folder = store.runs_root / run / "traces"
            folder.mkdir(parents=True)
            for step in (1, 2):
                store.cursor().execute(
                    "COPY (SELECT ?::BIGINT AS step, 'p' AS prompt_id, 0 AS sample_index, 0 AS position, "
                    "7 AS token_id, 'x' AS token) TO '" + str(folder / f"step-00000{step}.parquet") + "'",
                    [step],
                )
        torn = store.runs_root / "bad" / "traces" / "step-000002.parquet"
        torn.write_bytes(torn.read_bytes()[:left])
        assert rollouts.trace_steps(store, "good") == [1, 2]
        assert rollouts.trace_steps(store, "bad") == [1]
        assert [path.name for path in torn_traces(store.runs_root / "bad")] == ["step-000002.parquet.torn"]
        with Query(store, "SELECT count(*) AS n FROM Token_Traces").stream(unlocked=False) as batches:
            assert [batch.to_pylist() for batch in batches] == [[{"n": 3}]]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 50 + b"\x05\x00\x00\x00PAR1", b"x" * 99])
def test_a_file_that_cannot_be_read_keeps_no_store_from_opening(tmp_path: Path, content: bytes) -> None:
    """A new store in a folder of runs that others have left; the third looks whole."""
    traces = tmp_path / "s.runs" / "old" / "traces"
    traces.mkdir(parents=True)
    (traces / "step-000001.parquet").write_bytes(content)
    (traces / "folder.parquet").mkdir()
    with Store.open(tmp_path / "s.duckdb") as store:
        assert store.row("SELECT count(*) FROM token_traces") == (0,)
    assert [path.name for path in torn_traces(traces.parent)] == [
        "folder.parquet.torn",
        "step-000001.parquet.torn",
    ]
