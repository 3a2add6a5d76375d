"""A workspace in memory with a few prompts and responses; a store on disk, its jobs with a fake worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.protocol import launch
from storage import prompts, responses
from storage.store import Store
from tests.workbench.services.job_helpers import FAKE_WORKER, add_prompts, fake_jobs, until
from workbench.services.runs.jobs import Jobs
from workbench.services.workspace import Workspace
from workbench.settings import Settings


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with Workspace.open(Settings(db=":memory:", annotator="ada")) as opened:
        yield opened


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    """Two prompts: one with three responses of policies a, a and b, one with two of a and b."""
    store = workspace.store
    first, second = prompts.add_many(
        store,
        [[{"role": "user", "content": "Why is the sky blue?"}], [{"role": "user", "content": "Say hi."}]],
        source="test",
    )
    for prompt, policy, text in (
        (first, "a", "Light."),
        (first, "a", "Light is scattered by the air."),
        (first, "b", "Light is scattered by the air, and blue light more than red."),
        (second, "a", "Hi."),
        (second, "b", "Hello there."),
    ):
        responses.add(store, prompt, policy, text)
    return workspace


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.duckdb") as store:
        add_prompts(store, 3)
        yield store


@pytest.fixture
def jobs(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    fake_jobs(monkeypatch)
    jobs = Jobs(store, worker=FAKE_WORKER)
    yield jobs
    for run in jobs.list():
        jobs.stop(run.run_id)
        jobs.stop(run.run_id)
    until(lambda: not any(launch.alive(run.pid, run.pid_started or 0.0) for run in jobs.list() if run.pid))
