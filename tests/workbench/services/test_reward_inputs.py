"""What a reward run reads: rankings by criterion, all responses and earlier features for a frozen trunk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError
from engine.protocol.configs import RewardConfig
from engine.protocol.rundir import RunDir
from storage import artifacts
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses, judge
from tests.workbench.services.job_helpers import model_folder
from workbench.services import snapshots


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.duckdb") as store:
        prompt = add_prompt(store)
        a, b, _ = add_responses(store, prompt, "one", "two", "three")
        judge(store, prompt, {a: 1, b: 2})
        judge(store, prompt, {a: 2, b: 1}, criterion="brief")
        yield store


def prepared(store: Store, path: Path, **settings: Any) -> tuple[RunDir, dict[str, int]]:
    """The run directory, and the rows of each of its tables."""
    config = RewardConfig(
        name="r", **({"policy": model_folder(path.parent, "steps"), "tuning": "full"} | settings)
    )
    run = RunDir.create(path, config)
    inputs = snapshots.prepare(store, run, config)
    count = "SELECT count(*) FROM read_parquet(?)"
    tables = {name: str(run.table(name)) for name in inputs.tables if name != "features"}
    return run, {name: store.rows(count, [file])[0][0] for name, file in tables.items()}


def test_criteria_are_chosen(store: Store, tmp_path: Path) -> None:
    assert prepared(store, tmp_path / "one")[1] == {"rankings": 2}
    assert prepared(store, tmp_path / "all", criterion="all")[1] == {"rankings": 4}
    assert prepared(store, tmp_path / "both", criterion="brief, overall")[1] == {"rankings": 4}
    with pytest.raises(UsageError, match="no judgements of “kind”"):
        prepared(store, tmp_path / "none", criterion="kind")


def test_a_frozen_trunk_reads_every_response_and_the_newest_features(store: Store, tmp_path: Path) -> None:
    run, rows = prepared(store, tmp_path / "first", tuning="frozen")
    assert rows == {"rankings": 2, "responses": 3}
    assert "features" not in run.inputs.tables
    policy = run.model("policy").name
    for number in (1, 2):
        folder = tmp_path / f"made-{number}" / "features"
        folder.mkdir(parents=True)
        (folder / "features.parquet").write_bytes(b"features")
        artifacts.insert(store, run_id=f"made-{number}", kind="features", name=policy, path=str(folder))
    run, _ = prepared(store, tmp_path / "second", tuning="auto")
    assert run.table("features") == tmp_path / "made-2" / "features" / "features.parquet"
    (tmp_path / "made-2" / "features" / "features.parquet").unlink()
    run, _ = prepared(store, tmp_path / "third", tuning="auto")
    assert run.table("features") == tmp_path / "made-1" / "features" / "features.parquet"
    assert "features" not in prepared(store, tmp_path / "full", tuning="full")[0].inputs.tables
