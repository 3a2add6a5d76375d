"""One heavy job a device at a time, across the stores of one user."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.protocol import devices
from engine.protocol.configs import GenerateConfig
from storage import prompts
from storage.store import Store
from workbench.services.runs.jobs import Jobs

SLEEPER = (sys.executable, "-c", "import time; time.sleep(120)")
CONFIG = GenerateConfig(policy="tests/none", device="cpu")


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[Store]]:
    opened = []
    for name in ("ada", "ben"):
        opened.append(Store.open(tmp_path / f"{name}.duckdb"))
        prompts.add(opened[-1], [{"role": "user", "content": "Say hello."}])
    yield opened
    for store in opened:
        for row in Jobs(store).unfinished():
            if row.pid is not None:
                os.kill(row.pid, signal.SIGKILL)
        store.close()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_job_waits_for_that_of_another_store_and_says_for_which(stores: list[Store]) -> None:
    ada, ben = (Jobs(store, worker=SLEEPER) for store in stores)
    first, second = (jobs.submit("generate", CONFIG) for jobs in (ada, ben))
    ada.pump()
    ben.pump()
    (waiting,) = ben.unfinished()
    assert (waiting.status, waiting.pid) == ("queued", None)
    assert waiting.stage == f"waits for cpu, busy with {first} of {stores[0].path}"
    moves = ben.moves
    for _ in range(5):
        ben.pump()
    assert ben.moves == moves  # it is said once

    (running,) = ada.unfinished()
    assert running.pid is not None
    os.kill(running.pid, signal.SIGKILL)  # a crashed holder lets go
    until(lambda: ben.pump() or ben.show(second).status == "running")
    until(lambda: ben.show(second).pid)
    assert ben.show(second).stage is None
    assert devices.holder("cpu") == f"{second} of {stores[1].path}"


def test_the_worker_holds_on_when_the_workbench_has_gone(stores: list[Store]) -> None:
    jobs = Jobs(stores[0], worker=SLEEPER)
    jobs.submit("generate", CONFIG)
    jobs.pump()
    assert devices.take("cpu") is None  # this process has closed its own end: the worker alone holds it
    other = devices.take("cuda:0")
    assert other is not None
    other.close()


def test_a_job_that_cannot_start_lets_go(stores: list[Store]) -> None:
    jobs = Jobs(stores[0], worker=("/nowhere/worker",))
    run_id = jobs.submit("generate", CONFIG)
    jobs.pump()
    assert jobs.show(run_id).status == "failed"
    hold = devices.take("cpu")
    assert hold is not None
    hold.close()


def test_a_device_is_the_gpu_that_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = devices.lock_path("cuda:1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 1")
    assert devices.lock_path("cuda:1") == whole
    assert devices.lock_path("cuda:0") != devices.lock_path("cuda:1")
    assert "cuda-3" in devices.lock_path("cuda:0").name


def test_without_a_place_for_locks_jobs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WORKBENCH_STATE", str(tmp_path / "file"))
    hold = devices.take("cpu")
    assert hold is not None
    hold.say("reward-1", "a.duckdb")
    assert hold.inherited == ()
    hold.close()
    assert devices.holder("cpu") == "a job of another store"
