"""The worker of the application, torch and all, on the fake model."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.protocol import launch
from engine.protocol.building import build
from engine.protocol.configs import GenerateConfig, PPOConfig, RLOOConfig
from engine.protocol.events import AnyEvent, Progress, Started
from engine.protocol.rundir import RunDir
from storage.store import Store
from tests.engine.chat_serving import ChatFake
from tests.workbench.services.job_helpers import add_prompts
from workbench.services.runs.jobs import Jobs

torch = pytest.importorskip("torch")


def ppo(name: str, model: Path) -> PPOConfig:
    return PPOConfig(
        name=name,
        policy=str(model),
        reward_model="rm",
        dtype="float32",
        device="cpu",
        seed=3,
        steps=12,
        prompts_per_step=2,
        samples=2,
        max_new_tokens=6,
        epochs=2,
        checkpoint_every=2,
        trace_every=2,
    )


def policy_files(jobs: Jobs, run_id: str) -> dict[str, str]:
    """Hashes of the weights that a run has registered, by file name."""
    folder = next(Path(made.path) for made in jobs.show(run_id).artifacts if made.kind == "policy")
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors")
    }
    assert found
    return found


def test_the_real_worker_generates_into_the_store(tiny_model: Path, tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.duckdb") as store:
        add_prompts(store, 3)
        jobs = Jobs(store)
        config = GenerateConfig(policy=str(tiny_model), samples=2, max_new_tokens=4, device="cpu", seed=7)
        said: list[AnyEvent] = []
        run_id = jobs.submit("generate", config)
        row = jobs.wait(run_id, said.append)
        assert row.status == "done", (row.reason, row.stderr_tail)
        started = next(event for event in said if isinstance(event, Started))
        assert started.device == f"cpu {torch.backends.cpu.get_cpu_capability()}"
        assert started.dtype in ("bfloat16", "float32")
        assert (row.device, row.dtype, row.config["dtype"]) == (started.device, started.dtype, "auto")
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


@pytest.fixture
def server() -> Iterator[ChatFake]:
    fake = ChatFake()
    yield fake
    fake.close()


def test_judges_here_and_at_an_endpoint_are_rewards(
    tiny_model: Path, tmp_path: Path, server: ChatFake
) -> None:
    far, near = tmp_path / "far.toml", tmp_path / "near.toml"
    far.write_text(f'by = "endpoint"\npolicy = "m"\nendpoint = "{server.endpoint}"\n')
    near.write_text(f'policy = "{tiny_model}"\nasks = "score"\nrubric = "short.md"\n')
    (tmp_path / "short.md").write_text("Judge.")
    with Store.open(tmp_path / "store.duckdb") as store:
        add_prompts(store, 24)
        jobs = Jobs(store)
        config = build(
            RLOOConfig,
            {"name": "judged", "policy": str(tiny_model), "rewards": f"judge:{far},judge:{near}*2",
             "device": "cpu", "dtype": "float32", "steps": 1, "prompts_per_step": 2, "samples": 2,
             "max_new_tokens": 4},
        )  # fmt: skip
        run_id = jobs.submit("rloo", config)
        for path in (far, near):
            path.write_text("no longer = 'a judge'")
        row = jobs.wait(run_id)
        assert row.status == "done", (row.reason, row.stderr_tail)
        metrics = jobs.metrics(run_id)
        assert metrics["judge/far/failed"] == metrics["judge/near/failed"] == [(1, 0.0)]
        (components,) = store.rows(
            "SELECT array_agg(DISTINCT component ORDER BY component) FROM rollout_components"
        )
        assert list(components[0]) == ["judge:far", "judge:near"]
    assert {asked["model"] for asked in server.asked} == {"m"}


def test_a_killed_ppo_run_resumes_to_the_same_weights_and_numbers(
    tiny_model: Path, tiny_reward: Path, tmp_path: Path
) -> None:
    """Two runs that differ in a kill -9 only: the same weights bit for bit, the same rows in the store."""
    with Store.open(tmp_path / "store.duckdb") as store:
        add_prompts(store, 4)
        store.write("UPDATE artifacts SET path = ? WHERE name = 'rm'", [str(tiny_reward)])
        jobs = Jobs(store)
        whole, killed = (
            jobs.submit("ppo", ppo("whole", tiny_model)),
            jobs.submit("ppo", ppo("killed", tiny_model)),
        )
        row = jobs.wait(whole)
        assert row.status == "done", (row.reason, row.stderr_tail)
        directory = RunDir(Path(jobs.show(killed).run_dir or ""))
        deadline = time.monotonic() + 120
        while not directory.process_path.exists():
            jobs.pump()
        while directory.latest_checkpoint() is None:  # no pump here: the kill must come soon after
            assert time.monotonic() < deadline
            time.sleep(0.002)
        launch.kill(directory)
        assert jobs.wait(killed).status == "failed"
        jobs.resume(killed)
        row = jobs.wait(killed)
        assert row.status == "done", (row.reason, row.stderr_tail)
        assert policy_files(jobs, killed) == policy_files(jobs, whole)
        timing = "NOT regexp_matches(name, '^policy/(seconds|mfu|peak)')"
        metrics = f"SELECT step, name, value FROM metrics WHERE run_id = ? AND {timing} ORDER BY ALL"
        assert store.rows(metrics, [killed]) == store.rows(metrics, [whole])
        rollouts = (
            "SELECT * EXCLUDE (run_id) FROM rollouts WHERE run_id = ? ORDER BY step, prompt_id, sample_index"
        )
        assert store.rows(rollouts, [killed]) == store.rows(rollouts, [whole])
