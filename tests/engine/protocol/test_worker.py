"""The worker process, with real processes and real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from engine.protocol import launch
from engine.protocol.catalog import JOBS, JobKind
from engine.protocol.configs import ExportConfig, GenerateConfig, JobConfig, JudgeConfig, PPOConfig
from engine.protocol.events import AnyEvent, Failed, Finished, Message, Metrics, Progress, Started, Stopped
from engine.protocol.log import EventLog, tail
from engine.protocol.rundir import Inputs, ModelRef, RunDir
from engine.worker import ProgressThrottle, dtype_begun_in, resolve_place, sentence

FAKE_WORKER = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))


def prepared(folder: Path, config: JobConfig, model: str = "fake-steps") -> RunDir:
    run = RunDir.create(folder / "run", config)
    run.write_inputs(Inputs(models={"policy": ModelRef(name=model, folder=model)}))
    return run


def ended(run: RunDir, process: launch.Process, timeout: float = 30.0) -> int | None:
    deadline = time.monotonic() + timeout
    while launch.alive(process.pid, process.started):
        assert time.monotonic() < deadline, "the worker does not end"
        time.sleep(0.01)
    return launch.exit_code(process.pid)


def events(run: RunDir) -> list[AnyEvent]:
    return [envelope.event for envelope in tail(run.events_path).envelopes]


def wait_for(run: RunDir, kind: type, timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not any(isinstance(event, kind) for event in events(run)):
        assert time.monotonic() < deadline, f"no {kind.__name__} came"
        time.sleep(0.01)


def test_a_job_runs_to_its_end(tmp_path: Path) -> None:
    run = prepared(tmp_path, GenerateConfig(policy="fake-steps", samples=3))
    process = launch.spawn(run, FAKE_WORKER)
    assert ended(run, process) == 0
    said = events(run)
    assert isinstance(said[0], Started)
    assert said[0].pid == process.pid
    assert said[0].device == "cpu"
    assert said[0].versions["python"]
    assert [event.step for event in said if isinstance(event, Metrics)] == [1, 2, 3]
    assert said[-1] == Finished(summary={"responses": 3})
    assert json.loads(run.process_path.read_text()) == {"pid": process.pid, "started": process.started}
    assert (run.path / "stderr.log").read_text() == ""


@pytest.mark.parametrize("how", ["signal", "file"])
def test_a_stopped_job_closes_its_generator(tmp_path: Path, how: str) -> None:
    run = prepared(tmp_path, GenerateConfig(policy="p", samples=64), "fake-slow")
    process = launch.spawn(run, FAKE_WORKER)
    wait_for(run, Metrics)
    if how == "signal":
        os.kill(process.pid, signal.SIGINT)
    else:
        run.stop_path.touch()
    assert ended(run, process) == 130
    assert events(run)[-1] == Stopped()
    assert (run.path / "closed").exists()


def test_a_killed_worker_leaves_no_closing_event(tmp_path: Path) -> None:
    run = prepared(tmp_path, GenerateConfig(policy="p", samples=64), "fake-stubborn")
    process = launch.spawn(run, FAKE_WORKER)
    wait_for(run, Message)
    launch.request_stop(run)
    time.sleep(0.1)
    assert launch.alive(process.pid, process.started)
    launch.kill(run)
    assert ended(run, process) == -signal.SIGKILL
    assert not isinstance(events(run)[-1], Failed | Stopped | Finished)


def test_what_a_worker_started_ends_with_it(tmp_path: Path) -> None:
    run = prepared(tmp_path, GenerateConfig(policy="p", samples=64), "fake-family")
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        process = launch.spawn(run, FAKE_WORKER)
        deadline = time.monotonic() + 30
        while not (run.path / "family").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        family = [psutil.Process(int(pid)) for pid in (run.path / "family").read_text().split()]
        assert len(family) == 2
        launch.kill(run)
        assert ended(run, process) == -signal.SIGKILL
        while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("fake-error", "ValueError: the tokens"),
        ("fake-sentence", "The model is broken; choose another."),
        ("fake-memory", "Out of memory; use smaller batches"),
        ("fake-disk", "The disk is full; free some space"),
    ],
)
def test_errors_become_one_line_and_the_traceback_stays_in_the_log(
    tmp_path: Path, model: str, reason: str
) -> None:
    run = prepared(tmp_path, GenerateConfig(policy="p"), model)
    assert ended(run, launch.spawn(run, FAKE_WORKER)) == 1
    closing = events(run)[-1]
    assert isinstance(closing, Failed)
    assert closing.reason.startswith(reason)
    assert "\n" not in closing.reason
    assert "Traceback" in run.stderr_path.read_text()


def test_a_broken_configuration_fails_with_its_sentence(tmp_path: Path) -> None:
    run = prepared(tmp_path, GenerateConfig(policy="p"))
    run.config_path.write_text('kind = "generate"\npolicy = "p"\nsample = 3\n')
    assert ended(run, launch.spawn(run, FAKE_WORKER)) == 1
    closing = events(run)[-1]
    assert isinstance(closing, Failed)
    assert "Did you mean “samples”?" in closing.reason


def test_a_second_worker_keeps_out(tmp_path: Path) -> None:
    run = prepared(tmp_path, GenerateConfig(policy="p", samples=64), "fake-slow")
    first = launch.spawn(run, FAKE_WORKER)
    wait_for(run, Metrics)
    second = launch.spawn(run, FAKE_WORKER)
    assert ended(run, second) == 1
    assert "Another worker is busy" in run.stderr_path.read_text()
    assert launch.alive(first.pid, first.started)
    run.stop_path.touch()
    assert ended(run, first) == 130
    assert [e.seq for e in tail(run.events_path).envelopes] == list(range(1, len(events(run)) + 1))


def test_a_killed_job_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    config = PPOConfig(name="p", reward_model="r", steps=12, checkpoint_every=4)
    run = prepared(tmp_path, config, "patient")
    process = launch.spawn(run, FAKE_WORKER)
    wait_for(run, Progress)
    launch.kill(run)
    ended(run, process)
    assert ended(run, launch.spawn(run, FAKE_WORKER)) == 0
    said = events(run)
    starts = [event for event in said if isinstance(event, Started)]
    assert starts[0].resumed_from_step is None
    assert starts[1].resumed_from_step == 8
    assert [e.seq for e in tail(run.events_path).envelopes] == list(range(1, len(said) + 1))
    assert {event.step for event in said if isinstance(event, Metrics)} == set(range(1, 13))


def test_a_reused_pid_is_not_our_worker() -> None:
    mine = launch.this_process()
    assert launch.alive(mine.pid, mine.started)
    assert not launch.alive(mine.pid, mine.started - 100)


def test_stopping_never_signals_a_stranger(tmp_path: Path) -> None:
    run = prepared(tmp_path, GenerateConfig(policy="p"))
    mine = launch.this_process()
    launch.record_process(run, launch.Process(pid=mine.pid, started=mine.started - 100))
    launch.kill(run)
    launch.request_stop(run)


def test_the_environment_is_offline_unless_a_hub_model_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    run = prepared(tmp_path, GenerateConfig(policy="p"), "smollm2")
    assert launch.run_environment(run, 1)["HF_HUB_OFFLINE"] == "1"
    assert launch.run_environment(run, 1)["HF_HUB_DISABLE_TELEMETRY"] == "1"
    run.write_inputs(Inputs(models={"policy": ModelRef(name="x", folder="org/name")}))
    assert "HF_HUB_OFFLINE" not in launch.run_environment(run, 1)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    run.write_inputs(Inputs())
    assert launch.run_environment(run, 1)["HF_HUB_OFFLINE"] == "0"


def test_progress_is_throttled_but_its_ends_are_not() -> None:
    now = [0.0]
    throttle = ProgressThrottle(interval=0.2, clock=lambda: now[0])
    let = []
    for done in range(101):
        let.append(throttle.lets_through(Progress(stage="a", done=done, total=100)))
        now[0] += 0.01
    assert let[0]
    assert let[-1]
    assert sum(let) <= 7
    assert throttle.lets_through(Progress(stage="b", done=1, total=100))
    assert throttle.lets_through(Metrics(step=1, values={}))


def test_missing_packages_are_told_in_one_sentence() -> None:
    job = JobKind("x", "Do it", GenerateConfig, "m", needs=("json", "no_such_package"))
    told = launch.missing_packages(job, GenerateConfig(policy="p"))
    assert told is not None
    assert "needs no_such_package" in told
    assert "pip install '.[train]'" in told
    judge = JobKind("judge", "Judge", JudgeConfig, "m", needs=("no_such_package",))
    assert launch.missing_packages(judge, JudgeConfig()) is not None
    assert launch.missing_packages(judge, JudgeConfig(by="function", function="a:b")) is None


def test_a_number_format_that_is_slow_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from engine.models import device

    config, job = PPOConfig(name="x", reward_model="r", device="cpu"), JOBS["ppo"]
    monkeypatch.setattr(device, "multiplies_bfloat16_fast", lambda place: False)
    asked = resolve_place(config, job)
    assert (asked.device, asked.dtype, asked.slow) == ("cpu", "float32", None)
    begun = resolve_place(config, job, begun_in="bfloat16")
    assert begun.dtype == "bfloat16"
    assert begun.slow is not None
    assert "which it began in" in begun.slow
    monkeypatch.setattr(device, "multiplies_bfloat16_fast", lambda place: True)
    assert resolve_place(config, job).dtype == "bfloat16"
    kept = resolve_place(config, job, begun_in="float32")
    assert (kept.dtype, kept.slow) == ("float32", None)
    export = ExportConfig(reward_model="r", device="cpu")
    assert resolve_place(export, JOBS["export"]).dtype == "float32"  # whatever this machine is quick at


def test_the_first_process_of_a_run_decides_its_number_format(tmp_path: Path) -> None:
    run = prepared(tmp_path, GenerateConfig(policy="p"))
    assert dtype_begun_in(run) is None
    with EventLog(run.events_path) as log:
        log.append(Message(level="info", text="before"))
        for dtype in ("bfloat16", "float32"):
            log.append(Started(pid=1, device="cpu", dtype=dtype))
    assert dtype_begun_in(run) == "bfloat16"


def test_memory_errors_of_torch_are_recognised() -> None:
    assert sentence(RuntimeError("CUDA out of memory. Tried to allocate")).startswith("Out of memory")
    assert sentence(RuntimeError("[enforce] can't allocate memory: you tried")).startswith("Out of memory")
    assert sentence(RuntimeError("shape mismatch\nmore")) == "RuntimeError: shape mismatch"
