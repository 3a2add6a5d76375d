"""A run made again, and packed to be opened elsewhere."""

from __future__ import annotations

import json
import shlex
import shutil
import stat
import zipfile
from datetime import datetime
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.protocol.building import build
from engine.protocol.catalog import JOBS
from engine.protocol.configs import ExportConfig, GenerateConfig, JobConfig, PPOConfig, RewardConfig
from engine.protocol.rundir import Inputs, ModelRef, RunDir
from storage import runs
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses, judge
from workbench.cli.options import job_command
from workbench.services.runs.reproduction import MANIFEST, RUNS, STORE, bundle, command, script, unbundle
from workbench.services.workspace import Workspace
from workbench.settings import Settings


@pytest.fixture
def study(tmp_path: Path) -> Workspace:
    """A reward model, a run that learns from it, and one that has nothing to do with them."""
    workspace = Workspace.open(Settings(str(tmp_path / "study.duckdb"), "me"))
    store = workspace.store
    prompt = add_prompt(store)
    first, second = add_responses(store, prompt, "one", "two")
    judge(store, prompt, {first: 1, second: 2})
    for run_id, kind, config in (
        ("reward-1", "reward", RewardConfig(name="first")),
        ("ppo-1", "ppo", PPOConfig(name="tuned", policy="smollm2", reward_model="first", seed=7)),
        ("generate-1", "generate", GenerateConfig(policy="another")),
    ):
        _ended(store, run_id, kind, config)
    store.write(
        "INSERT INTO artifacts (artifact_id, run_id, kind, name, path) "
        "VALUES ('f', 'reward-1', 'reward_model', 'first', '/f')"
    )
    return workspace


def _ended(store: Store, run_id: str, kind: str, config: JobConfig) -> None:
    import msgspec

    assert store.runs_root is not None
    run = RunDir.create(store.runs_root / run_id, config)
    (run.path / "inputs").mkdir()
    (run.path / "inputs" / "prompts.parquet").write_bytes(b"PAR1 some rows PAR1")
    run.write_inputs(
        Inputs({"policy": ModelRef("smollm2", "smollm2")}, {"prompts": Path("inputs/prompts.parquet")}, "abc")
    )
    run.events_path.write_text("{}\n")
    (run.path / "model").mkdir()
    (run.path / "model" / "weights.safetensors").write_bytes(b"weights")
    (run.path / "link").symlink_to("/etc/hostname")
    runs.insert_run(store, run_id, kind, msgspec.to_builtins(config), run_dir=str(run.path))
    runs.update_run(store, run_id, status="done", data_hash="abc")
    at = datetime(2026, 1, 2)
    runs.insert_metrics(store, [(run_id, step, step, "policy/kl", step / 4, at) for step in range(4)])


def figures(store: Store) -> list[object]:
    return [
        store.rows("SELECT * EXCLUDE (created_at) FROM run_summary WHERE run_id = 'ppo-1'"),
        runs.metrics(store, "ppo-1"),
        store.rows("SELECT * FROM preference_pairs"),
    ]


def test_a_bundle_opens_elsewhere_with_the_same_figures(study: Workspace, tmp_path: Path) -> None:
    archive, elsewhere = tmp_path / "ppo.zip", tmp_path / "elsewhere"
    with study:
        made = bundle(study.store, study.jobs, "ppo-1", archive)
        expected = figures(study.store)
        with pytest.raises(UsageError, match="there already"):
            bundle(study.store, study.jobs, "ppo-1", archive)
    assert archive.stat().st_mode & 0o777 == 0o600
    shutil.rmtree(study.store.runs_root or "")
    found = unbundle(archive, elsewhere)
    assert (found.run_id, found.files, found.bytes) == ("ppo-1", made.files, made.bytes)
    with Workspace.open(Settings(str(elsewhere / STORE), "me")) as opened:
        assert figures(opened.store) == expected
        assert {row.run_id for row in opened.jobs.list()} == {"ppo-1", "reward-1"}
        detail = opened.jobs.show("ppo-1")
        assert detail.run_dir == str(elsewhere / RUNS / "ppo-1")
        assert (Path(detail.run_dir) / "inputs/prompts.parquet").read_bytes() == b"PAR1 some rows PAR1"
        assert not (Path(detail.run_dir) / "model").exists()
        assert not (Path(detail.run_dir) / "link").exists()
    with pytest.raises(UsageError, match="there already"):
        unbundle(archive, elsewhere)


def test_models_are_packed_when_asked_for_and_a_running_run_is_not(study: Workspace, tmp_path: Path) -> None:
    with study:
        bundle(study.store, study.jobs, "ppo-1", tmp_path / "a.zip", models=True)
        runs.update_run(study.store, "ppo-1", status="running")
        with pytest.raises(UsageError, match="when it has ended"):
            bundle(study.store, study.jobs, "ppo-1", tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert f"{RUNS}/ppo-1/model/weights.safetensors" in archive.namelist()


HOSTILE = [
    "../up",
    "/tmp/absolute",
    f"{RUNS}/../../up",
    f"{RUNS}\\up",
    "C:up",
    "other/file",
    f"{RUNS}//twice",
    "link",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bundle_writes_nothing_outside_its_folder(tmp_path: Path, name: str) -> None:
    archive, folder = tmp_path / "a.zip", tmp_path / "in" / "out"
    folder.parent.mkdir()
    info = zipfile.ZipInfo(f"{RUNS}/link" if name == "link" else name)
    if name == "link":
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(info, "text")
        import hashlib

        digest = hashlib.sha256(b"text").hexdigest()
        opened.writestr(MANIFEST, json.dumps({"run": "r", "files": {info.filename: digest}}))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="not a bundle"):
        unbundle(archive, folder)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("change", ["content", "missing", "more", "manifest", "no zip"])
def test_a_changed_bundle_is_refused_whole(study: Workspace, tmp_path: Path, change: str) -> None:
    with study:
        bundle(study.store, study.jobs, "ppo-1", tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    inputs = f"{RUNS}/ppo-1/inputs/prompts.parquet"
    if change == "content":
        held[inputs] = b"PAR1 other row PAR1"
    elif change == "missing":
        del held[inputs]
    elif change == "more":
        held[f"{RUNS}/ppo-1/more"] = b"more"
    elif change == "manifest":
        held[MANIFEST] = b"[]"
    changed = tmp_path / "b.zip"
    with zipfile.ZipFile(changed, "w") as archive:
        for name, content in held.items():
            archive.writestr(name, content)
    if change == "no zip":
        changed.write_text("text")
    with pytest.raises(UsageError, match=r"was changed|not a bundle"):
        unbundle(changed, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_script_makes_the_run_again(study: Workspace, tmp_path: Path) -> None:
    """What it copies is what the worker reads, and the command gives the configuration back."""
    with study:
        text = script(study.jobs, "ppo-1")
        detail = study.jobs.show("ppo-1")
    steps = [shlex.split(line) for line in text.splitlines() if line and not line.startswith(("#", "set"))]
    assert [step[0] for step in steps] == ["mkdir", "cp", "cp", "cp", "python"]
    assert steps[-1][1:] == ["-m", "engine.worker", "ppo-1-again"]
    again = tmp_path / "ppo-1-again"
    again.mkdir()
    for step in steps[1:4]:
        source = Path(step[2])
        shutil.copytree(source, again / source.name) if source.is_dir() else shutil.copy(source, again)
    kind, config = RunDir(again).read_config()
    assert (kind, config) == RunDir(Path(detail.run_dir or "")).read_config()
    assert RunDir(again).table("prompts").exists()


@pytest.mark.parametrize(
    "config",
    [
        PPOConfig(name="it is", policy="a b", reward_model="first", seed=3),
        RewardConfig(name="first", tuning="full", epochs=2),
        GenerateConfig(policy="smollm2", samples=3),
        ExportConfig(reward_model="first"),
    ],
)
def test_the_command_of_a_run_gives_its_configuration(
    config: JobConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import msgspec
    import typer

    kind = next(kind for kind, job in JOBS.items() if job.config is type(config))
    detail = type("Detail", (), {"kind": kind, "config": msgspec.to_builtins(config)})()
    words = shlex.split(command(detail))
    assert words[0] == "workbench"
    taken: list[JobConfig] = []
    arguments = {"reward_model": "NAME"} if kind == "export" else None

    def take(config: JobConfig) -> None:
        taken.append(config)

    app = typer.Typer()
    app.command()(job_command(type(config), take, arguments=arguments))
    skip = {"generate": 2}.get(kind, 3)
    app(words[skip:], standalone_mode=False)
    values = msgspec.to_builtins(config)
    if "name" in values:
        values["name"] += "-again"
    assert taken == [build(type(config), values)]
