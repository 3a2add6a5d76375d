"""What can go, what must stay, and a kill in between."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from storage import artifacts, policies, runs
from storage.care.doctor import look_inside
from storage.care.garbage import GONE, Garbage, find, remove
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses

ROOT = Path(__file__).parents[3]
OLD = time.time() - 40 * 86_400


def add_run(store: Store, run_id: str, status: str = "done", config: dict[str, object] | None = None) -> Path:
    assert store.runs_root is not None
    folder = store.runs_root / run_id
    for step in (1, 2, 10):
        put(folder / "checkpoints" / f"step-{step:06d}" / "weights", 100)
    put(folder / "config.toml", 10)
    put(folder / "traces" / "step-000001.parquet", 50)
    os.utime(folder / "traces" / "step-000001.parquet", (OLD, OLD))
    runs.insert_run(store, run_id, "ppo", config or {}, run_dir=str(folder))
    runs.update_run(store, run_id, status=status)
    return folder


def put(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def add_model(store: Store, folder: Path, name: str = "rm", *, at: str) -> str:
    put(folder / "model" / "model.safetensors.txt", 1000)
    path = str(folder / "model")
    made = artifacts.insert(store, run_id=folder.name, kind="reward_model", name=name, path=path)
    store.write(
        "UPDATE artifacts SET created_at = $at::TIMESTAMP WHERE artifact_id = $id", {"at": at, "id": made}
    )
    return made


def names(found: list[Garbage], root: Path) -> set[str]:
    return {str(each.path.relative_to(root)) for each in found}


def test_old_checkpoints_of_ended_runs_can_go_and_no_others(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        for status in ("done", "failed", "stopped", "queued", "running", "paused"):
            add_run(store, status, status)
        found = find(store, busy=lambda folder: folder.name == "stopped")
        root = tmp_path / "a.runs"
        expected = {f"{run}/checkpoints/step-00000{step}" for run in ("done", "failed") for step in (1, 2)}
        assert names(found, root) == expected
        assert sum(each.bytes for each in found) == 400
        before = set(root.rglob("*"))
        assert remove(store, found) == 400
        gone = before - set(root.rglob("*"))
        assert {str(path.relative_to(root)) for path in gone} == expected | {f"{p}/weights" for p in expected}
        assert find(store, busy=lambda folder: folder.name == "stopped") == []


def test_traces_go_by_the_users_rule_alone(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        folder = add_run(store, "one")
        put(folder / "traces" / "step-000002.parquet", 50)
        remove(store, find(store))
        assert find(store, keep_traces=41) == []
        (only,) = find(store, keep_traces=30)
        assert only.path == folder / "traces" / "step-000001.parquet"


def test_a_replaced_model_goes_with_its_row_unless_something_names_it(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        folders = [add_run(store, f"run-{n}") for n in range(5)]
        made = [add_model(store, folder, at=f"2026-01-0{n + 1}") for n, folder in enumerate(folders)]
        remove(store, [each for each in find(store) if "checkpoint" in each.what])
        (response,) = add_responses(store, add_prompt(store), "a")
        store.write(
            "INSERT INTO scores (response_id, reward_model_id, criterion, score, backend) "
            "VALUES ($r, $m, 'overall', 1, 'onnx-fp32')",
            {"r": response, "m": made[1]},
        )
        policies.ensure(store, "tuned", model=str(folders[2] / "model"))
        add_run(store, "later", config={"base": str(folders[3] / "model")})
        found = [each for each in find(store) if "checkpoint" not in each.what]
        assert [(each.artifact_id, each.path) for each in found] == [(made[0], folders[0] / "model")]
        assert remove(store, found) == 1000
        assert {row.artifact_id for row in artifacts.listed(store)} == set(made[1:])
        assert not (folders[0] / "model").exists()
        assert list(look_inside(store)) == []


def test_what_a_person_registered_elsewhere_is_never_removed(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        for n in (1, 2):
            add_model(store, tmp_path / f"mine-{n}", at=f"2026-01-0{n}")
        assert find(store) == []


def test_run_directories_of_no_run_and_half_files(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        folder, root = add_run(store, "one"), tmp_path / "a.runs"
        remove(store, find(store))
        put(root / "stranger" / "config.toml", 10)
        put(root / "not-a-run" / "notes.txt", 10)
        gone_pid = subprocess.run(["true"]).returncode or 2**22 - 1
        for half in (f".x.parquet.{gone_pid}.tmp", f".y.{os.getpid()}.tmp", f"{GONE}0-model", "z.tmp"):
            put(folder / half, 5)
        put(folder / "traces" / "step-000003.parquet.torn", 5)
        put(folder / "onnx" / "model.onnx", 7)
        put(tmp_path / f".a.duckdb.{gone_pid}.part", 3)
        put(tmp_path / ".a.duckdb.0123456789abcdef.building", 3)
        put(root / "no-run" / "out" / "left.csv", 3)
        expected = {
            "a.runs/stranger",
            f"a.runs/one/.x.parquet.{gone_pid}.tmp",
            f"a.runs/one/{GONE}0-model",
            "a.runs/one/traces/step-000003.parquet.torn",
            "a.runs/one/onnx",
            f".a.duckdb.{gone_pid}.part",
            ".a.duckdb.0123456789abcdef.building",
            "a.runs/no-run/out/left.csv",
        }
        assert names(find(store), tmp_path) == expected
        remove(store, find(store))
        assert find(store) == []
        assert (root / "not-a-run" / "notes.txt").exists()


def test_runs_in_a_folder_that_another_database_shares_are_left(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.db") as other:
        other_run = add_run(other, "theirs")
        (other_run / "traces" / "step-000001.parquet").unlink()  # which is no Parquet
    with Store.open(tmp_path / "a.duckdb") as store:
        assert store.runs_root == other_run.parent
        assert find(store) == []
        (tmp_path / "a.db").unlink()
        assert names(find(store), tmp_path) == {"a.runs/theirs"}


REMOVE = """
import os, shutil, sys
from pathlib import Path
from storage.care import garbage
from storage.store import Store
left = int(sys.argv[2])
def counted(work):
    def step(*arguments, **more):
        global left
        if left == 0:
            os._exit(9)
        left -= 1
        return work(*arguments, **more)
    return step
with Store.open(Path(sys.argv[1])) as store:
    found = garbage.find(store)
    Path.rename, os.rmdir, os.unlink = map(counted, (Path.rename, os.rmdir, os.unlink))
    store.write = counted(store.write)
    garbage.remove(store, found)
    os._exit(0)
"""


def test_a_kill_at_any_step_leaves_a_store_that_opens_and_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Store.open(path) as store:
        for n in range(2):
            add_model(store, add_run(store, f"run-{n}"), at=f"2026-01-0{n + 1}")
    for step in range(40):
        done = subprocess.run(
            [sys.executable, "-c", REMOVE, str(path), str(step % 3)], cwd=ROOT, check=False, timeout=60
        )
        with Store.open(path) as store:
            assert list(look_inside(store)) == []
            for row in artifacts.listed(store):
                assert (Path(row.path) / "model.safetensors.txt").stat().st_size == 1000
        if done.returncode == 0:
            break
        assert done.returncode == 9
    with Store.open(path) as store:
        assert done.returncode == 0
        assert find(store) == []
        assert [row.run_id for row in artifacts.listed(store)] == ["run-1"]
        assert sorted(p.name for p in (tmp_path / "a.runs").rglob("step-*")) == [
            "step-000001.parquet",
            "step-000001.parquet",
            "step-000010",
            "step-000010",
        ]
