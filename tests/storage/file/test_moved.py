"""A study that was moved with its folder of runs works where it is now."""

from __future__ import annotations

import shutil
from pathlib import Path

from storage import artifacts, policies, runs
from storage.store import Store

RUN = "ppo-7f3a9c"


def study(folder: Path) -> Path:
    """A store with one run, its policy, its reward model, and a policy from elsewhere."""
    path = folder / "a.duckdb"
    with Store.open(path) as store:
        run_dir = folder / "a.runs" / RUN
        (run_dir / "model").mkdir(parents=True)
        runs.insert_run(store, RUN, "ppo", {"name": "better"}, run_dir=str(run_dir))
        policies.ensure(store, "base", model="/models/base")
        policies.register_trained(
            store, "better", folder=str(run_dir / "model"), parent=policies.policy_id("base"), run_id=RUN
        )
        model = artifacts.insert(
            store, run_id=RUN, kind="reward_model", name="rm", path=str(run_dir / "model")
        )
        onnx = str(run_dir / "onnx" / "int8.onnx")
        artifacts.insert(store, run_id=RUN, kind="onnx", name="int8", path=onnx, parent_id=model)
    return path


def test_a_moved_study_finds_its_files(tmp_path: Path) -> None:
    study(tmp_path / "here")
    new = tmp_path / "the'other place"
    (tmp_path / "here").rename(new)
    for _ in range(2):
        with Store.open(new / "a.duckdb") as store:
            run_dir = new / "a.runs" / RUN
            assert runs.run_row(store, RUN).run_dir == str(run_dir)
            model = artifacts.reward_model(store, "rm")
            assert (model.folder, model.onnx_folder) == (str(run_dir / "model"), str(run_dir / "onnx"))
            assert {p.name: p.model for p in policies.listed(store)} == {
                "base": "/models/base",
                "better": str(run_dir / "model"),
            }
            assert store.rows("SELECT * FROM token_traces") == []


def test_a_renamed_database_follows_its_renamed_runs(tmp_path: Path) -> None:
    study(tmp_path)
    (tmp_path / "a.duckdb").rename(tmp_path / "b.duckdb")
    with Store.open(tmp_path / "b.duckdb") as store:  # the runs are still under the old name
        assert artifacts.reward_model(store, "rm").folder == str(tmp_path / "a.runs" / RUN / "model")
    shutil.rmtree(tmp_path / "b.runs")
    (tmp_path / "a.runs").rename(tmp_path / "b.runs")
    with Store.open(tmp_path / "b.duckdb") as store:
        assert artifacts.reward_model(store, "rm").folder == str(tmp_path / "b.runs" / RUN / "model")


def test_a_copy_without_its_runs_reads_the_old_ones(tmp_path: Path) -> None:
    path = study(tmp_path / "here")
    (tmp_path / "there").mkdir()
    copy = Path(shutil.copy(path, tmp_path / "there"))
    with Store.open(copy) as store:
        assert Path(artifacts.reward_model(store, "rm").folder).is_dir()
