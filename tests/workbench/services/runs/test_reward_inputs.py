"""What a reward run reads: rankings by criterion; a frozen trunk also features and, if asked, the queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import UsageError
from engine.protocol.configs import ExportConfig, RewardConfig
from engine.protocol.rundir import RunDir
from storage import artifacts, judgements, runs
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses, judge
from tests.workbench.services.job_helpers import model_folder
from workbench.services.runs import snapshots


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
    tables = {name: str(run.table(name)) for name in inputs.tables if not name.startswith("features")}
    return run, {name: store.rows(count, [file])[0][0] for name, file in tables.items()}


def test_criteria_are_chosen(store: Store, tmp_path: Path) -> None:
    assert prepared(store, tmp_path / "one")[1] == {"rankings": 2}
    assert prepared(store, tmp_path / "all", criterion="all")[1] == {"rankings": 4}
    assert prepared(store, tmp_path / "both", criterion="brief, overall")[1] == {"rankings": 4}
    with pytest.raises(UsageError, match="no judgements of “kind”"):
        prepared(store, tmp_path / "none", criterion="kind")


@pytest.mark.parametrize("kind", ["reward", "register"])
def test_a_reward_model_from_elsewhere_is_exported_before_there_is_any_response(
    kind: str, tmp_path: Path
) -> None:
    with Store.open(tmp_path / "empty.duckdb") as store:
        runs.insert_run(store, "made-1", kind, {"name": "rm"})
        artifacts.insert(store, run_id="made-1", kind="reward_model", name="rm", path=str(tmp_path))
        config = ExportConfig(reward_model="rm")
        run = RunDir.create(tmp_path / "export", config)
        if kind == "reward":
            with pytest.raises(UsageError, match="There are no responses to work on"):
                snapshots.prepare(store, run, config)
        else:
            assert list(snapshots.prepare(store, run, config).tables) == ["responses"]


def test_a_frozen_trunk_reads_what_is_judged_and_all_features_that_there_are(
    store: Store, tmp_path: Path
) -> None:
    run, rows = prepared(store, tmp_path / "first", tuning="frozen")
    assert rows == {"rankings": 2}
    assert "features" not in run.inputs.tables
    policy = run.model("policy").name
    files = []
    for number in (1, 2):
        folder = tmp_path / f"made-{number}" / "features"
        folder.mkdir(parents=True)
        files.append(folder / "features.parquet")
        files[-1].write_bytes(b"features")
        artifacts.insert(store, run_id=f"made-{number}", kind="features", name=policy, path=str(folder))
    run, _ = prepared(store, tmp_path / "second", tuning="auto")
    assert [run.table(name) for name in ("features", "features_2")] == files[::-1]  # the newest first
    files[1].unlink()
    run, _ = prepared(store, tmp_path / "third", tuning="auto")
    assert run.table("features") == files[0]
    assert "features" not in prepared(store, tmp_path / "full", tuning="full")[0].inputs.tables


@pytest.mark.parametrize(("asked", "expected"), [(0, 0), (1, 0), (3, 2), (4, 4), (9, 7)])
def test_of_the_queue_whole_prompts_come_within_the_budget(
    store: Store, tmp_path: Path, asked: int, expected: int
) -> None:
    for number in range(2):
        add_responses(store, add_prompt(store, f"Prompt {number}?"), "yes", "no")
    add_responses(store, add_prompt(store, "One answer only?"), "yes")
    run, rows = prepared(store, tmp_path / "run", tuning="frozen", queue_responses=asked)
    assert rows.get("responses", 0) == expected
    if expected:
        query = "SELECT prompt_id FROM read_parquet(?)"
        prompts = [prompt for (prompt,) in store.rows(query, [str(run.table("responses"))])]
        waiting = judgements.least_judged(store, limit=3)
        order = [prompt for prompt, found in waiting for _ in found]
        assert prompts == order[: len(prompts)]  # as the live model looks at them


def test_what_a_run_reads_does_not_grow_with_the_store(store: Store, tmp_path: Path) -> None:
    few = prepared(store, tmp_path / "few", tuning="frozen")[1]
    for number in range(30):
        add_responses(store, add_prompt(store, f"Prompt {number}?"), "yes", "no")
    assert prepared(store, tmp_path / "many", tuning="frozen")[1] == few
