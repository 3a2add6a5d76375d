"""The worker of the application, torch and all, on the fake model."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.protocol.configs import GenerateConfig
from engine.protocol.events import AnyEvent, Progress, Started
from storage.store import Store
from tests.workbench.services.job_helpers import add_prompts
from workbench.services.jobs import Jobs

pytest.importorskip("torch")


def test_the_real_worker_generates_into_the_store(tiny_model: Path, tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.duckdb") as store:
        add_prompts(store, 3)
        jobs = Jobs(store)
        config = GenerateConfig(
            policy=str(tiny_model), samples=2, max_new_tokens=4, dtype="float32", device="cpu", seed=7
        )
        said: list[AnyEvent] = []
        run_id = jobs.submit("generate", config)
        row = jobs.wait(run_id, said.append)
        assert row.status == "done", (row.reason, row.stderr_tail)
        started = next(event for event in said if isinstance(event, Started))
        assert started.device == "cpu"
        assert {"python", "torch", "transformers"} <= set(started.versions)
        assert any(isinstance(event, Progress) and event.rate_unit == "tokens/s" for event in said)
        rows = store.rows(
            "SELECT len(token_ids), len(token_logprobs), list_max(token_logprobs), seed, run_id "
            "FROM responses"
        )
        assert len(rows) == 6
        for tokens, logprobs, highest, seed, run in rows:
            assert 1 <= tokens == logprobs <= 4
            assert highest <= 0.0
            assert (seed, run) == (7, run_id)


def test_a_folder_that_is_no_model_fails_with_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "not-a-model"
    folder.mkdir()
    with Store.open(tmp_path / "store.duckdb") as store:
        add_prompts(store, 1)
        jobs = Jobs(store)
        row = jobs.wait(jobs.submit("generate", GenerateConfig(policy=str(folder))))
        assert row.status == "failed"
        assert row.reason
        assert str(folder) in row.reason
        assert "\n" not in row.reason
