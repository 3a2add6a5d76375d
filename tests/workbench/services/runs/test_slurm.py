"""Runs as batch jobs of Slurm: commands of the test's own, and Slurm itself where one answers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.elsewhere.host import Host
from engine.errors import UsageError
from engine.protocol import launch
from engine.protocol.configs import PPOConfig
from engine.protocol.rundir import RunDir
from storage.store import Store
from tests.engine.elsewhere import cluster
from tests.engine.elsewhere.machine import AGENT, ROOT
from tests.workbench.services.job_helpers import FAKE_WORKER, fake_jobs, generate, model_folder, status, until
from tests.workbench.services.runs.test_elsewhere import at_step, on_gpu
from workbench.services.runs.jobs import Jobs
from workbench.settings import load_settings

OpenJobs = Callable[..., Jobs]
QUICK = """import engine.elsewhere.agent, engine.elsewhere.slurm
engine.elsewhere.agent.LAST_SECONDS = 0.5
engine.elsewhere.slurm.LOOK_SECONDS = 0.1
"""


class LoginNode:
    """This machine as a node from which jobs are submitted: where its runs lie, and its agent."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.runs, self.jobs = folder / "runs", folder / "jobs"
        self._store = store
        script = folder / "agent.py"
        folder.mkdir(exist_ok=True)
        text = AGENT.format(root=str(ROOT), worker=FAKE_WORKER)
        script.write_text(text.replace("sys.exit", f"{QUICK}sys.exit"))
        self._python = folder / "python-there"
        self._python.write_text(f"#!/bin/sh\nexec {sys.executable} {script}\n")
        self._python.chmod(0o700)

    def open(self, **options: str) -> Jobs:
        """Jobs of the store, whose machine `gpu` is the cluster."""
        host = Host(python=str(self._python), folder=str(self.runs), slurm=options)
        return Jobs(self._store, hosts={"gpu": host})


@pytest.fixture
def here(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoginNode]:
    fake_jobs(monkeypatch)
    node = LoginNode(tmp_path / "node", store)
    yield node
    jobs = node.open()
    for run in jobs.list():
        jobs.stop(run.run_id)
        jobs.stop(run.run_id)
    for path in node.runs.glob("*/process.json"):
        launch.kill(RunDir(path.parent))


@pytest.fixture
def fake(here: LoginNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoginNode:
    """The login node with Slurm's commands of the test's own."""
    cluster.install(here.jobs, tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{tmp_path / 'slurm'}{os.pathsep}{os.environ['PATH']}")
    return here


def ppo(tmp_path: Path, **changes: object) -> PPOConfig:
    values = {"name": "tuned", "reward_model": "rm", "checkpoint_every": 5, "steps": 12, "on": "gpu"}
    return PPOConfig(policy=model_folder(tmp_path, "patient"), **values | changes)  # type: ignore[arg-type]


def begun(jobs: Jobs, run_id: str) -> bool:
    """Whether its worker has said something."""
    log = Path(jobs.show(run_id).run_dir or "") / "events.jsonl"
    return status(jobs, run_id) == "running" and log.exists() and "here we go" in log.read_text()


def test_a_batch_job_has_the_rows_of_a_run_here(fake: LoginNode, store: Store, tmp_path: Path) -> None:
    jobs = fake.open(partition="debug", time="10")
    run_id = jobs.submit("generate", on_gpu(generate(tmp_path, "responses", samples=2)))
    row = jobs.wait(run_id)
    assert (row.status, row.reason, row.device, row.summary) == ("done", None, "cpu", {"responses": 2})
    assert store.rows("SELECT count(*), count(DISTINCT prompt_id) FROM responses") == [(6, 3)]
    (job,) = cluster.jobs(fake.jobs)
    assert {name: job["options"][name] for name in ("partition", "time", "nodes", "requeue")} == {
        **{"partition": "debug", "time": "10", "nodes": "1", "requeue": ""}
    }
    assert {path.stat().st_mode & 0o077 for path in (fake.runs / run_id).rglob("*")} == {0}


def test_a_preempted_job_goes_on_from_its_checkpoint_and_outlives_its_carrier(
    fake: LoginNode, store: Store, tmp_path: Path
) -> None:
    jobs = fake.open()
    run_id = jobs.submit("ppo", ppo(tmp_path))
    until(lambda: at_step(jobs, run_id, 10))
    log = Path(jobs.show(run_id).run_dir or "") / "events.jsonl"
    launch.kill(RunDir(log.parent))
    until(lambda: status(jobs, run_id) == "failed")
    jobs.resume(run_id)  # the job has gone on, and none is submitted beside it
    until(lambda: status(jobs, run_id) == "running")
    assert [job["state"] for job in cluster.jobs(fake.jobs)] == ["RUNNING"]
    subprocess.run(["preempt", "1"], check=True)
    row = jobs.wait(run_id)
    assert (row.status, row.summary) == ("done", {"steps": 12})
    assert [step for step, _ in jobs.metrics(run_id)["policy/score"]] == list(range(1, 13))
    assert log.read_text().count('"started"') == 2
    assert '"stopped"' not in log.read_text()
    assert [job["state"] for job in cluster.jobs(fake.jobs)] == ["COMPLETED"]


def test_waiting_jobs_say_why_and_are_taken_back(fake: LoginNode, tmp_path: Path) -> None:
    (fake.jobs / "full").touch()
    jobs = fake.open()
    run_id = jobs.submit("ppo", ppo(tmp_path))
    jobs.pump()
    until(lambda: "Slurm job 1: PENDING (Resources)" in jobs.show(run_id).stderr_tail)
    (fake.jobs / "down").touch()
    until(lambda: "Unable to contact" in jobs.show(run_id).stderr_tail)
    (fake.jobs / "down").unlink()
    jobs.stop(run_id)
    assert jobs.wait(run_id).status == "stopped"
    assert [job["state"] for job in cluster.jobs(fake.jobs)] == ["CANCELLED"]
    (fake.jobs / "full").unlink()
    jobs.resume(run_id)
    until(lambda: at_step(jobs, run_id, 10))
    os.kill(cluster.jobs(fake.jobs)[0]["pid"], signal.SIGUSR1)  # the time limit comes near
    assert jobs.wait(run_id).status == "paused"
    jobs.resume(run_id)
    assert jobs.wait(run_id).summary == {"steps": 12}


def test_a_run_that_does_not_listen_is_cancelled(fake: LoginNode, tmp_path: Path) -> None:
    jobs = fake.open()
    run_id = jobs.submit("generate", on_gpu(generate(tmp_path, "stubborn")))
    until(lambda: begun(jobs, run_id))
    jobs.stop(run_id)
    until(lambda: (fake.runs / run_id / "stop").exists())
    jobs.stop(run_id)  # ends the carrier; a little later its agent ends the job
    assert jobs.wait(run_id).status == "stopped"
    until(lambda: [job["state"] for job in cluster.jobs(fake.jobs)] == ["CANCELLED"])


def test_what_the_cluster_refuses_or_ends_is_told(fake: LoginNode, tmp_path: Path) -> None:
    config = on_gpu(generate(tmp_path, "stubborn"))
    row = fake.open(partition="none").wait(fake.open(partition="none").submit("generate", config))
    assert row.reason == "this machine: sbatch: sbatch: error: invalid partition specified: none"
    jobs = fake.open()
    run_id = jobs.submit("generate", config)
    until(lambda: begun(jobs, run_id))
    subprocess.run(["scancel", "1"], check=True)
    row = jobs.wait(run_id)
    assert (row.status, row.reason) == ("failed", "The worker ended with exit code 1: Slurm job 1: CANCELLED")


def test_options_of_a_cluster(tmp_path: Path) -> None:
    project = tmp_path / "workbench.toml"
    project.write_text('[hosts.big.slurm]\npartition = "gpu"\ngpus-per-node = 1\nexclusive = true\n')
    host = load_settings(user_file=tmp_path / "none", project_file=project, environment={}).hosts["big"]
    assert (host.ssh, host.slurm) == ("", {"partition": "gpu", "gpus-per-node": 1, "exclusive": True})
    for text, wanted in (
        ("[hosts.big]\n", "is not a host"),
        ('[hosts.big.slurm]\nwrap = "rm"', r"\[hosts\.big\.slurm\]: wrap is set by the run"),
        ('[hosts.big.slurm]\n-p = "gpu"', "no option of sbatch by its long name"),
        ('[hosts.big.slurm]\npartition = "a\\nb"', "more than one line"),
        ("[hosts.big.slurm]\ntime = 1.5", "it takes ssh, python"),
    ):
        project.write_text(text)
        with pytest.raises(UsageError, match=wanted):
            load_settings(user_file=tmp_path / "none", project_file=project, environment={})


def _slurm_answers() -> bool:
    if shutil.which("sbatch") is None:
        return False
    return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=30).returncode == 0


@pytest.mark.slow
def test_slurm_itself_runs_requeues_and_cancels(here: LoginNode, store: Store, tmp_path: Path) -> None:
    if not _slurm_answers():
        pytest.skip("no Slurm answers on this machine")
    jobs = here.open(time="5")
    row = jobs.wait(jobs.submit("generate", on_gpu(generate(tmp_path, "responses", samples=2))))
    assert (row.status, row.summary) == ("done", {"responses": 2})
    run_id = jobs.submit("ppo", ppo(tmp_path))
    until(lambda: at_step(jobs, run_id, 10), timeout=60)
    number = jobs.show(run_id).stderr_tail.rsplit("Slurm job ", 1)[1].partition(":")[0]
    subprocess.run(["scontrol", "requeue", number], check=True)
    subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now"], check=False)
    row = jobs.wait(run_id)
    assert (row.status, row.summary) == ("done", {"steps": 12})
    assert [step for step, _ in jobs.metrics(run_id)["policy/score"]] == list(range(1, 13))
    limited = here.open(time="2")  # two minutes: the warning comes at once
    run_id = limited.submit("ppo", ppo(tmp_path, name="limited"))
    assert limited.wait(run_id).status == "paused"
    stubborn = jobs.submit("generate", on_gpu(generate(tmp_path, "stubborn")))
    until(lambda: begun(jobs, stubborn), timeout=60)
    jobs.stop(stubborn)
    until(lambda: (here.runs / stubborn / "stop").exists())
    jobs.stop(stubborn)
    assert jobs.wait(stubborn).status == "stopped"
    listed = ["squeue", "--me", "--noheader", "--format=%j"]
    until(lambda: stubborn not in subprocess.run(listed, capture_output=True, text=True).stdout, timeout=60)
