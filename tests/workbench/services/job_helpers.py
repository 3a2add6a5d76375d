"""What the tests of jobs share: a worker with fake jobs, prompts, a model that is only a name."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.protocol.catalog import JOBS
from engine.protocol.configs import GenerateConfig
from storage.store import Store
from workbench.services.runs.jobs import Jobs

FAKE_WORKER = (
    sys.executable,
    str(Path(__file__).resolve().parents[2] / "engine" / "protocol" / "fake_worker.py"),
)


def fake_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake worker's jobs need no packages."""
    for kind, job in list(JOBS.items()):
        monkeypatch.setitem(JOBS, kind, replace(job, needs=()))


def model_folder(tmp_path: Path, behaviour: str) -> str:
    """A folder that passes for a model; the fake job does what its name says."""
    folder = tmp_path / "models" / behaviour
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def add_prompts(store: Store, count: int) -> None:
    """`count` prompts of the source “source”, and a registered reward model “rm”."""
    for number in range(count):
        text = f"Question {number}?"
        store.write(
            "INSERT INTO prompts (prompt_id, text, messages, source) "
            "VALUES (?, ?, json_array(json_object('role', 'user', 'content', ?)), 'source')",
            [f"p{number:016x}", text, text],
        )
    store.write(
        "INSERT INTO artifacts (artifact_id, kind, name, path) VALUES ('f0', 'reward_model', 'rm', '/rm')"
    )


def until(condition: Callable[[], object], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)


def generate(tmp_path: Path, behaviour: str = "steps", samples: int = 3) -> GenerateConfig:
    return GenerateConfig(policy=model_folder(tmp_path, behaviour), samples=samples)


def status(jobs: Jobs, run_id: str) -> str:
    jobs.pump()
    return jobs.show(run_id).status
