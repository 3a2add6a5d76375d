"""Features on disk: found by response, in any order, from several files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import WorkbenchError
from engine.frozen.store import GROUP_ROWS, FeatureInfo, FeatureStore, write_features

INFO = FeatureInfo(
    base="tiny", trunk="abc", layers=(1, 2), parts=("last",), width=6, dtype="float32", template="chat"
)


def some(seed: int, count: int) -> tuple[list[str], np.ndarray]:
    draw = np.random.default_rng(seed)
    return [f"r{seed}-{n}" for n in range(count)], draw.normal(size=(count, 6)).astype(np.float32)


def test_rows_come_back_in_the_order_asked_for_from_several_files(tmp_path: Path) -> None:
    (a, x), (b, y) = some(1, GROUP_ROWS + 7), some(2, 3)
    assert write_features(tmp_path / "a.parquet", INFO, [(a[:5], x[:5]), (a[5:], x[5:])]) == len(a)
    write_features(tmp_path / "features.parquet", dataclasses.replace(INFO, base="other name"), [(b, y)])
    store = FeatureStore.open(tmp_path / "a.parquet", tmp_path)
    assert (len(store), store.info) == (len(a) + 3, INFO)
    np.testing.assert_array_equal(store.rows([a[-1], b[1], a[0], b[1]]), np.stack([x[-1], y[1], x[0], y[1]]))
    assert store.missing(["no", a[3], "nor", "no"]) == ["no", "nor"]
    assert a[3] in store
    assert sum(len(ids) for ids, _ in store.batches(store.ids, 100)) == len(store)
    assert (tmp_path / "a.parquet").stat().st_mode & 0o777 == 0o600
    with pytest.raises(KeyError):
        store.rows(["no"])


def test_files_of_other_features_are_refused(tmp_path: Path) -> None:
    write_features(tmp_path / "a.parquet", INFO, [some(1, 2)])
    write_features(tmp_path / "b.parquet", dataclasses.replace(INFO, layers=(0, 1)), [some(2, 2)])
    with pytest.raises(WorkbenchError, match="not of the same model"):
        FeatureStore.open(tmp_path / "a.parquet", tmp_path / "b.parquet")
    pq.write_table(pa.table({"response_id": ["r"]}), tmp_path / "c.parquet")
    with pytest.raises(WorkbenchError, match="not a file of features"):
        FeatureStore.open(tmp_path / "c.parquet")
    with pytest.raises(WorkbenchError, match="not a file of features"):
        FeatureStore.open(tmp_path / "absent.parquet")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_features(path, INFO, [some(1, 2)])
    with pytest.raises(ZeroDivisionError):
        write_features(path, INFO, (some(1 // n, 2) for n in (1, 0)))
    assert len(FeatureStore.open(path)) == 2
