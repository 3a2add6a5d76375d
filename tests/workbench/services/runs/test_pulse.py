"""Looking at jobs costs nothing while nothing moves, and misses nothing that does."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.protocol.building import build
from engine.protocol.configs import GenerateConfig
from engine.protocol.events import Finished, Metrics, Progress
from engine.protocol.log import EventLog
from engine.protocol.rundir import RunDir
from storage import prompts, runs
from storage.store import Store
from tests.storage.test_ingest_bulk import statements
from workbench.services.runs import pulse
from workbench.services.runs.jobs import Jobs

SLEEPER = (sys.executable, "-c", "import sys, time; time.sleep(120)")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Store, Jobs, RunDir]]:
    """A job that lives and says nothing by itself: the test writes its log."""
    with Store.open(tmp_path / "a.duckdb") as store:
        prompts.add(store, [{"role": "user", "content": "Say hello."}])
        jobs = Jobs(store, worker=SLEEPER, grace=0.0)
        run_id = jobs.submit("generate", build(GenerateConfig, {"policy": "tests/none"}))  # type: ignore[arg-type]
        jobs.pump()
        run = RunDir(Path(runs.run_row(store, run_id).run_dir or ""))
        for _ in range(3):  # what the first looks write has been seen by the next
            jobs.pump()
        yield store, jobs, run
        run.stop_path.touch()
        jobs.wait(run_id)


def test_a_job_that_says_nothing_costs_no_statement(running: tuple[Store, Jobs, RunDir]) -> None:
    store, jobs, _ = running
    with statements(store) as seen:
        for _ in range(50):
            assert jobs.pump() == []
    assert seen == []


def test_what_it_says_is_taken_in_at_once_and_then_at_intervals(
    running: tuple[Store, Jobs, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, jobs, run = running
    monkeypatch.setattr(pulse, "LONGEST", 30.0)
    monkeypatch.setattr(pulse, "SHARE", 1e6)
    with EventLog(run.events_path) as log:
        log.append(Progress(stage="training", done=1, total=4))
        assert [change.events for change in jobs.pump()] == [1]
        jobs.pump()
        with statements(store) as seen:
            for step in range(20):  # it talks on, and is heard when the time has come
                log.append(Metrics(step=step, values={"loss": 1.0}))
                assert jobs.pump() == []
        assert seen == []
        later = time.monotonic() + 31
        monkeypatch.setattr(time, "monotonic", lambda: later)
        assert [change.events for change in jobs.pump()] == [20]


def test_the_end_of_a_job_is_seen_however_long_its_words_may_wait(
    running: tuple[Store, Jobs, RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, jobs, run = running
    monkeypatch.setattr(pulse, "LONGEST", 1e6)
    monkeypatch.setattr(pulse, "SHARE", 1e9)
    (row,) = jobs.unfinished()
    with EventLog(run.events_path) as log:
        log.append(Progress(stage="training", done=1, total=4))
        assert jobs.pump()
        log.append(Finished())
    jobs.stop(row.run_id)  # asked twice it ends at once
    jobs.stop(row.run_id)
    assert jobs.wait(row.run_id).status == "done"


def test_what_others_store_is_seen(running: tuple[Store, Jobs, RunDir]) -> None:
    store, jobs, _ = running
    before = jobs.moves
    prompts.add(store, [{"role": "user", "content": "And goodbye."}])
    assert jobs.moves != before
    with statements(store) as seen:
        jobs.pump()
    assert seen
