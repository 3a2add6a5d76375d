"""Runs on another machine: an `ssh` of the test's own, everything behind it real."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine.errors import UsageError
from engine.protocol import launch
from engine.protocol.configs import GenerateConfig, PPOConfig
from engine.protocol.rundir import RunDir
from storage.store import Store
from tests.engine.elsewhere.machine import Machine
from tests.workbench.services.job_helpers import FAKE_WORKER, fake_jobs, generate, model_folder, status, until
from workbench.services.runs.jobs import Jobs
from workbench.settings import load_settings

OpenJobs = Callable[..., Jobs]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path / "machine", FAKE_WORKER)
    monkeypatch.setenv("PATH", machine.path)
    return machine


@pytest.fixture
def jobs_on(store: Store, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenJobs]:
    """Jobs of the store, where the settings know the machine `gpu`, changed as asked."""
    fake_jobs(monkeypatch)
    opened: list[Jobs] = []

    def open_jobs(**changes: str) -> Jobs:
        opened.append(Jobs(store, hosts={"gpu": machine.host(**changes)}))
        return opened[-1]

    yield open_jobs
    for run in opened[0].list():
        opened[0].stop(run.run_id)
        opened[0].stop(run.run_id)
    for run_path in machine.runs.glob("*/started.json"):
        launch.kill(RunDir(run_path.parent))


def on_gpu(config: GenerateConfig) -> GenerateConfig:
    return GenerateConfig(policy=config.policy, samples=config.samples, on="gpu")


def ppo(tmp_path: Path, behaviour: str, **changes: object) -> PPOConfig:
    values = {"name": "tuned", "reward_model": "rm", "checkpoint_every": 5, "steps": 12, "on": "gpu"}
    return PPOConfig(policy=model_folder(tmp_path, behaviour), **values | changes)  # type: ignore[arg-type]


def test_a_run_elsewhere_has_the_rows_of_one_here(
    jobs_on: OpenJobs, store: Store, machine: Machine, tmp_path: Path
) -> None:
    jobs = jobs_on()
    config = on_gpu(generate(tmp_path, "responses", samples=2))
    (Path(config.policy) / "weights").write_bytes(os.urandom(3_000_000))
    elsewhere = jobs.submit("generate", config)
    row = jobs.wait(elsewhere)
    assert (row.status, row.reason, row.device, row.summary) == ("done", None, "cpu", {"responses": 2})
    assert store.rows("SELECT count(*), count(DISTINCT prompt_id) FROM responses") == [(6, 3)]
    there = machine.runs / elsewhere
    assert (there / "given/policy/responses/weights").read_bytes() == (
        Path(config.policy) / "weights"
    ).read_bytes()
    assert {path.stat().st_mode & 0o077 for path in machine.runs.rglob("*")} == {0}
    here = Path(row.run_dir or "")
    assert (here / "events.jsonl").read_bytes() == (there / "events.jsonl").read_bytes()
    assert not (here / "given").exists()
    contents = len(list((machine.runs / "files").iterdir()))
    jobs.wait(jobs.submit("generate", config))  # of the same files only its configuration may be new
    assert len(list((machine.runs / "files").iterdir())) <= contents + 2


def test_a_run_goes_on_without_its_connection_and_after_its_carrier_was_killed(
    jobs_on: OpenJobs, store: Store, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_RECONNECT_SECONDS", "0.2")
    jobs = jobs_on()
    run_id = jobs.submit("ppo", ppo(tmp_path, "patient"))
    until(lambda: at_step(jobs, run_id, 10))
    worker = launch.read_process(RunDir(machine.runs / run_id))
    assert worker is not None
    machine.down()
    _kill_agents(machine)
    until(lambda: "is lost" in jobs.show(run_id).stderr_tail)
    assert launch.alive(worker.pid, worker.started)
    machine.down(lies=False)
    log = Path(jobs.show(run_id).run_dir or "") / "events.jsonl"
    before = log.stat().st_size
    until(lambda: log.stat().st_size > before)
    launch.kill(RunDir(log.parent))
    until(lambda: status(jobs, run_id) == "failed")
    assert launch.alive(worker.pid, worker.started)
    jobs.resume(run_id)
    until(lambda: status(jobs, run_id) == "running")
    jobs.pause(run_id)
    assert jobs.wait(run_id).status == "paused"
    assert log.read_text().count('"started"') == 1  # it is one worker all along
    jobs.resume(run_id)
    row = jobs.wait(run_id)
    assert (row.status, row.summary) == ("done", {"steps": 12})
    assert [step for step, _ in jobs.metrics(run_id)["policy/score"]] == list(range(1, 13))
    assert log.read_bytes() == (machine.runs / run_id / "events.jsonl").read_bytes()


def at_step(jobs: Jobs, run_id: str, step: int) -> bool:
    """Whether a run has come so far."""
    jobs.pump()
    return len(jobs.metrics(run_id).get("policy/score", ())) == step


def _kill_agents(machine: Machine) -> None:
    for process in psutil.process_iter():
        try:
            if str(machine.home / "agent.py") in process.cmdline():
                process.kill()
        except psutil.Error:
            continue


def test_stop_pause_and_resume_reach_the_worker(jobs_on: OpenJobs, machine: Machine, tmp_path: Path) -> None:
    jobs = jobs_on()
    slow = jobs.submit("generate", on_gpu(generate(tmp_path, "slow", samples=64)))
    until(lambda: status(jobs, slow) == "running" and "fake/step" in jobs.metrics(slow))
    jobs.stop(slow)
    assert jobs.wait(slow).status == "stopped"
    assert (machine.runs / slow / "closed").exists()
    patient = jobs.submit("ppo", ppo(tmp_path, "patient"))
    until(lambda: at_step(jobs, patient, 10))
    jobs.pause(patient)
    assert jobs.wait(patient).status == "paused"
    assert not (Path(jobs.show(patient).run_dir or "") / "checkpoints").exists()
    jobs.resume(patient)
    row = jobs.wait(patient)
    assert (row.status, row.summary) == ("done", {"steps": 12})
    assert (Path(row.run_dir or "") / "model/config.json").read_text() == "{}"
    assert [step for step, _ in jobs.metrics(patient)["policy/score"]] == list(range(1, 13))


@pytest.mark.parametrize("behaviour", ["error", "vanish"])
def test_a_worker_that_fails_there_says_why_here(
    behaviour: str, jobs_on: OpenJobs, machine: Machine, tmp_path: Path
) -> None:
    jobs = jobs_on(launcher="nice -n 1")
    row = jobs.wait(jobs.submit("generate", on_gpu(generate(tmp_path, behaviour))))
    wanted = {"error": "ValueError: the tokens", "vanish": "cannot write: no space left"}[behaviour]
    assert row.status == "failed"
    assert wanted in (row.reason or "")


def test_what_cannot_be_reached_is_told_in_a_sentence(
    jobs_on: OpenJobs, machine: Machine, tmp_path: Path
) -> None:
    config = on_gpu(generate(tmp_path, "responses"))
    with pytest.raises(UsageError, match=r"no machine “gqu”.*“gpu”"):
        jobs_on().submit("generate", GenerateConfig(policy=config.policy, on="gqu"))
    with pytest.raises(UsageError, match=r"\[hosts\.gqu\] with ssh"):
        Jobs(jobs_on()._store).submit("generate", GenerateConfig(policy=config.policy, on="gqu"))
    nothing = jobs_on(python="/nowhere/python")
    row = nothing.wait(nothing.submit("generate", config))
    assert (row.reason or "").startswith("There is no agent on ada@there (/nowhere/python): ")
    machine.down()
    row = nothing.wait(nothing.submit("generate", config))
    assert "cannot be reached: ssh: connect to host ada@there port 22: No route to host" in (row.reason or "")


def test_a_run_of_another_store_with_that_name_is_not_touched(
    jobs_on: OpenJobs, machine: Machine, tmp_path: Path
) -> None:
    jobs = jobs_on()
    run_id = jobs.submit("generate", on_gpu(generate(tmp_path, "responses")))
    there = machine.runs / run_id
    there.mkdir(parents=True)
    (there / "config.toml").write_text("another")
    row = jobs.wait(run_id)
    assert row.status == "failed"
    assert "is another run of that name there" in (row.reason or "")
    assert [path.name for path in there.iterdir()] == ["config.toml"]


def test_another_version_there_is_refused(machine: Machine, tmp_path: Path, jobs_on: OpenJobs) -> None:
    script = machine.home / "agent.py"
    older = "import engine.elsewhere.agent\nengine.elsewhere.agent.version = lambda: '0.0.9'\n"
    script.write_text(script.read_text().replace("sys.exit", f"{older}sys.exit"))
    jobs = jobs_on()
    row = jobs.wait(jobs.submit("generate", on_gpu(generate(tmp_path, "responses"))))
    assert "The workbench there is 0.0.9, here it is" in (row.reason or "")


def test_machines_of_the_settings(tmp_path: Path) -> None:
    project = tmp_path / "workbench.toml"
    project.write_text('[hosts.gpu]\nssh = "ada@gpu.example.org"\nlauncher = "srun --gpus=1"\n')
    host = load_settings(user_file=tmp_path / "none", project_file=project, environment={}).hosts["gpu"]
    assert (host.ssh, host.launcher) == ("ada@gpu.example.org", "srun --gpus=1")
    for text, wanted in (
        ('[hosts.gpu]\nssh = "-oProxyCommand=sh"', "is not a host"),
        ('[hosts.gpu]\nssh = "a b"', "is not a host"),
        ("[hosts.gpu]\nssh = 3", "it takes ssh, python, folder, launcher"),
        ('[hosts.gpu]\nshh = "a"', "it takes ssh, python, folder, launcher"),
        ('[hosts."g u"]\nssh = "a"', "letters, digits"),
        ('[hosts.gpu]\nssh = "a"\nlauncher = "srun \'"', "is no command"),
        ('hosts = "gpu"', r"must hold tables"),
    ):
        project.write_text(text)
        with pytest.raises(UsageError, match=wanted):
            load_settings(user_file=tmp_path / "none", project_file=project, environment={})
