"""Events of a run come into the store once, all effects of a batch together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from storage import artifacts, ingest, policies, responses, rollouts, runs
from storage.errors import NotFoundError, StoreError
from storage.ids import content_id
from storage.store import Store
from tests.storage.builders import add_prompt

Line = dict[str, Any]


def line(seq: int, type_: str, **event: Any) -> Line:
    return {"seq": seq, "at": 1_700_000_000.0 + seq, "event": {"type": type_, **event}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run [1]?*"  # a name, not a pattern


def queue(store: Store, folder: Path, run_id: str, job: str, **config: Any) -> None:
    folder.mkdir(exist_ok=True)
    runs.insert_run(store, run_id, job, config, run_dir=str(folder))


def parquet(store: Store, path: Path, select: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    store.cursor().execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")


def test_a_whole_run(store: Store, folder: Path) -> None:
    queue(store, folder, "reward-1", "reward", name="rm", policy="smollm2")
    lines = [
        line(1, "started", pid=4, device="cpu"),
        line(2, "progress", stage="training", done=1, total=4),
        line(3, "metrics", step=1, values={"train/loss": 0.7, "train/accuracy": None, "x": float("nan")}),
        line(4, "message", level="info", text="All is well."),
        line(5, "artifact", kind="reward_model", name="rm", path="model", details={"pairs": 3}),
        line(6, "finished", summary={"accuracy": 0.5}),
    ]
    assert ingest.ingest(store, "reward-1", lines[:3], 100) == 3
    run = runs.run_row(store, "reward-1")
    assert (run.status, run.stage, run.progress, run.last_seq, run.last_offset) == (
        "running",
        "training",
        0.25,
        3,
        100,
    )
    assert ingest.ingest(store, "reward-1", lines, 200) == 3
    assert ingest.ingest(store, "reward-1", lines, 200) == 0
    run = runs.run_row(store, "reward-1")
    assert (run.status, run.summary, run.last_seq, run.name) == ("done", {"accuracy": 0.5}, 6, "rm")
    assert run.started_at is not None
    assert run.ended_at is not None
    assert (run.ended_at - run.started_at).total_seconds() == 5
    assert runs.metrics(store, "reward-1") == {"train/loss": [(1, 0.7)]}
    assert [m.text for m in runs.messages(store, "reward-1")] == ["All is well."]
    (artifact,) = artifacts.of_run(store, "reward-1")
    assert (artifact.kind, artifact.path, artifact.details) == (
        "reward_model",
        str(folder / "model"),
        {"pairs": 3},
    )


SAMPLES = (
    "SELECT '{prompt}' AS prompt_id, i::INTEGER AS sample_index, 'hello ' || i AS \"text\", "
    "[1, 2]::INTEGER[] AS token_ids, [-0.5, -1.5]::FLOAT[] AS token_logprobs, "
    "'stop' AS finish_reason FROM range(3) r(i)"
)


def test_generated_responses_come_from_parquet_once(store: Store, folder: Path) -> None:
    prompt = add_prompt(store)
    queue(store, folder, "generate-1", "generate", policy="smollm2", seed=3, temperature=0.7)
    parquet(store, folder / "outputs" / "r.parquet", SAMPLES.format(prompt=prompt))
    output = line(1, "output", kind="responses", path="outputs/r.parquet", rows=3)
    ingest.ingest(store, "generate-1", [output], 10)
    ingest.ingest(store, "generate-1", [{**output, "seq": 2}], 20)
    found = responses.of_prompt(store, prompt)
    assert [(r.text, r.policy, r.tokens, r.finish_reason) for r in found] == [
        (f"hello {n}", "smollm2", 2, "stop") for n in range(3)
    ]
    assert found[1].response_id == content_id("r", "generate-1", prompt, "1")
    assert store.rows("SELECT DISTINCT seed, sampling ->> '$.temperature' FROM responses") == [(3, "0.7")]


def test_scores_and_exports_find_their_reward_model(store: Store, folder: Path) -> None:
    model = artifacts.insert(store, run_id="reward-1", kind="reward_model", name="rm", path="/m")
    queue(store, folder, "score-1", "score", reward_model="rm")
    rows = "SELECT 'r' || i AS response_id, CASE i WHEN 1 THEN 'nan'::DOUBLE ELSE i END AS score, "
    rows += "'torch-float32' AS backend"
    parquet(store, folder / "s.parquet", f"{rows} FROM range(3) r(i)")
    ingest.ingest(store, "score-1", [line(1, "output", kind="scores", path="s.parquet", rows=3)], 1)
    found = store.rows("SELECT response_id, reward_model_id, score, run_id FROM scores ORDER BY 1")
    assert found == [("r0", model, 0.0, "score-1"), ("r2", model, 2.0, "score-1")]
    queue(store, folder, "export-1", "export", reward_model="rm")
    onnx = line(1, "artifact", kind="onnx", name="int8", path="onnx/int8.onnx")
    ingest.ingest(store, "export-1", [onnx], 1)
    assert artifacts.reward_model(store, "rm").onnx_folder == str(folder / "onnx")


def rollouts_at(step: int) -> str:
    return (
        f"SELECT {step} AS step, 'p1' AS prompt_id, 0 AS sample_index, 'hi' AS \"text\", "
        "1.0 AS score, 0.5 AS reward, "
        "0.1 AS kl, 3 AS tokens, true AS stopped"
    )


def test_a_resumed_run_says_its_last_steps_again(store: Store, folder: Path) -> None:
    queue(store, folder, "ppo-1", "ppo", name="better", policy="smollm2", reward_model="rm")
    for step in (1, 2, 3):
        parquet(store, folder / f"{step}.parquet", rollouts_at(step))
    steps = [line(n, "output", kind="rollouts", path=f"{n}.parquet", rows=1, step=n) for n in (1, 2, 3)]
    metrics = [line(n + 3, "metrics", step=n, values={"policy/kl": float(n)}) for n in (1, 2, 3)]
    ingest.ingest(store, "ppo-1", [*steps, *metrics], 1)
    again = [
        line(7, "started", pid=9, device="cpu", resumed_from_step=1),
        line(8, "metrics", step=2, values={"policy/kl": 20.0}),
    ]
    ingest.ingest(store, "ppo-1", again, 2)
    assert runs.metrics(store, "ppo-1") == {"policy/kl": [(1, 1.0), (2, 20.0)]}
    assert runs.rollout_steps(store, "ppo-1") == [1]
    (rollout,) = rollouts.of_step(store, "ppo-1", 1)
    assert (rollout.step, rollout.text, rollout.stopped) == (1, "hi", True)


def test_a_trained_policy_is_registered_with_its_parent(store: Store, folder: Path) -> None:
    base = policies.ensure(store, "smollm2", model="smollm2")
    for run in ("ppo-1", "ppo-2"):
        queue(store, folder, run, "ppo", name="better", policy="smollm2")
        ingest.ingest(store, run, [line(1, "artifact", kind="policy", name="better", path="model")], 1)
    found = {p.name: p for p in policies.listed(store)}
    assert set(found) == {"smollm2", "better", "better (ppo-2)"}
    assert (found["better"].parent, found["better"].model) == ("smollm2", str(folder / "model"))
    assert base == found["smollm2"].policy_id


def test_a_batch_that_fails_leaves_nothing_of_itself(store: Store, folder: Path) -> None:
    queue(store, folder, "score-1", "score", reward_model="unknown")
    parquet(store, folder / "s.parquet", "SELECT 'r1' AS response_id, 1.0 AS score, 'x' AS backend")
    batch = [
        line(1, "metrics", step=1, values={"a": 1.0}),
        line(2, "output", kind="scores", path="s.parquet", rows=1),
    ]
    with pytest.raises(NotFoundError, match="no reward model “unknown”"):
        ingest.ingest(store, "score-1", batch, 10)
    assert runs.metrics(store, "score-1") == {}
    assert runs.run_row(store, "score-1").last_seq == 0


def test_a_lost_file_is_a_warning_and_a_path_outside_is_refused(store: Store, folder: Path) -> None:
    queue(store, folder, "generate-1", "generate", policy="x")
    ingest.ingest(store, "generate-1", [line(1, "output", kind="responses", path="gone.parquet", rows=7)], 1)
    (message,) = runs.messages(store, "generate-1")
    assert message.level == "warning"
    assert message.text.startswith("Lost: responses, as ")
    outside = line(2, "output", kind="responses", path="../../etc/passwd", rows=1)
    with pytest.raises(StoreError, match="outside its run directory"):
        ingest.ingest(store, "generate-1", [outside], 2)


def test_a_run_is_claimed_once_and_columns_are_checked(store: Store) -> None:
    runs.insert_run(store, "ppo-1", "ppo", {"name": "x"}, waits_for="reward-1")
    assert runs.claim(store, "ppo-1")
    assert not runs.claim(store, "ppo-1")
    assert runs.run_row(store, "ppo-1").waits_for == "reward-1"
    with pytest.raises(KeyError, match="no column colour"):
        runs.update_run(store, "ppo-1", colour="red")
    with pytest.raises(NotFoundError, match="did you mean “ppo-1”"):
        runs.run_row(store, "ppo-2")


ODD_NUMBERS = {
    "doubled": [1, 2, 2, 3, 3, 4, 9],
    "late": [1, 2, 4, 3, 9, 5],
    "missing": [1, 2, 7, 8, 9],
    "large": [1, 2, 3, 2**62, 9],
}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("what", ODD_NUMBERS)
def test_a_worker_that_counts_wrongly_is_heard_once(
    store: Store, folder: Path, what: str, together: bool
) -> None:
    """And one whose clock goes backwards."""
    queue(store, folder, "reward-1", "reward", name="rm", policy="smollm2")
    numbers = ODD_NUMBERS[what]
    lines = [line(seq, "metrics", step=seq, values={"a": 0.5}) | {"at": 2e9 - seq % 100} for seq in numbers]
    for n, part in enumerate([lines] if together else [[one] for one in lines], start=1):
        ingest.ingest(store, "reward-1", part, 100 * n)
    heard = [seq for place, seq in enumerate(numbers) if seq > max(numbers[:place], default=0)]
    assert [step for step, _ in runs.metrics(store, "reward-1")["a"]] == heard
    assert store.rows("SELECT count(*) FROM metrics") == [(len(heard),)]
    assert runs.run_row(store, "reward-1").last_seq == max(heard)
