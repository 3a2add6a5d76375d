"""Prompts that a policy does not learn on: kept apart, answered every few steps, no trace in training."""

from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from engine.errors import UsageError
from engine.policy_learning import prompts as policy_prompts
from engine.policy_learning.ppo import run
from engine.protocol.configs import PPOConfig
from engine.protocol.events import Event, Metrics, Output
from engine.protocol.rundir import RunDir
from tests.engine.training.runs import make_run, only, prompts

CONFIG = PPOConfig(
    name="better", reward_model="reward_model", policy="p", device="cpu", dtype="float32", steps=4,
    prompts_per_step=2, samples=2, max_new_tokens=6, learning_rate=5e-3, critic_learning_rate=5e-3, epochs=1,
    beta=0.02, checkpoint_every=1, trace_every=0, heldout_prompts="share", holdout=0.3, evaluate_every=2,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _few_reference_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_prompts, "REFERENCE_SAMPLES", 8)


def prepared(path: Path, models: dict[str, Path], **changes: Any) -> tuple[PPOConfig, RunDir]:
    config = msgspec.structs.replace(CONFIG, **changes)
    return config, make_run(path, config, models, {"prompts": prompts(8)})


def rows(directory: RunDir, events: list[Event], kind: str) -> list[dict[str, Any]]:
    files = dict.fromkeys(event.path for event in only(events, Output) if event.kind == kind)
    return [row for file in files for row in pq.read_table(directory.path / file).to_pylist()]


def heldout(events: list[Event]) -> dict[int, dict[str, float]]:
    found = {e.step: dict(e.values) for e in only(events, Metrics) if "heldout/score" in e.values}
    return found  # type: ignore[return-value]


def weights(directory: RunDir) -> dict[str, torch.Tensor]:
    return load_file(directory.path / "model" / "model.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole(
    ppo_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunDir, list[Event]]:
    config, directory = prepared(tmp_path_factory.mktemp("heldout") / "whole", ppo_models)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy_prompts, "REFERENCE_SAMPLES", 8)
        return directory, list(run(config, directory))


def test_held_out_prompts_are_answered_and_never_learned(whole: tuple[RunDir, list[Event]]) -> None:
    directory, events = whole
    split = {row["prompt_id"]: row["split"] for row in rows(directory, events, "splits")}
    assert sorted(split.values()) == ["heldout"] * 2 + ["train"] * 6
    assert {split[row["prompt_id"]] for row in rows(directory, events, "rollouts")} == {"train"}
    answers = rows(directory, events, "evaluations")
    assert {split[row["prompt_id"]] for row in answers} == {"heldout"}
    found = heldout(events)
    assert sorted(found) == [0, 2, 4]
    assert found[0]["heldout/kl"] == pytest.approx(0, abs=1e-4)  # nothing has been learned
    assert found[4]["heldout/kl"] != found[0]["heldout/kl"]
    for step, values in found.items():
        own = [row for row in answers if row["step"] == step]
        assert len(own) == 4
        for name, column in {
            "score": "score",
            "kl": "kl",
            "length": "tokens",
            "objective": "objective",
        }.items():
            mean = sum(row[column] for row in own) / len(own)
            assert values[f"heldout/{name}"] == pytest.approx(mean, rel=1e-5, abs=1e-7)


def test_evaluations_leave_no_trace_in_training(
    tmp_path: Path, ppo_models: dict[str, Path], whole: tuple[RunDir, list[Event]]
) -> None:
    config, directory = prepared(tmp_path / "often", ppo_models, evaluate_every=1, evaluate_prompts=1)
    events = list(run(config, directory))
    assert sorted(heldout(events)) == [0, 1, 2, 3, 4]
    assert equal(weights(directory), weights(whole[0]))


def test_a_stopped_run_evaluates_as_one_never_stopped(
    tmp_path: Path, ppo_models: dict[str, Path], whole: tuple[RunDir, list[Event]]
) -> None:
    config, directory = prepared(tmp_path / "killed", ppo_models)
    job = run(config, directory)
    seen: list[Event] = []
    for event in job:
        seen.append(event)
        if isinstance(event, Metrics) and event.step == 3:
            break
    job.close()  # type: ignore[attr-defined]
    seen += list(run(config, directory))
    assert heldout(seen) == heldout(whole[1])
    assert equal(weights(directory), weights(whole[0]))


def test_the_split_of_the_table_is_kept_and_a_missing_one_is_told(
    tmp_path: Path, ppo_models: dict[str, Path]
) -> None:
    config = msgspec.structs.replace(CONFIG, heldout_prompts="reward_model", steps=1)
    table = [
        row | {"split": "heldout" if row["prompt_id"] in ("p1", "p5") else "train"} for row in prompts(8)
    ]
    directory = make_run(tmp_path / "run", config, ppo_models, {"prompts": table})
    events = list(run(config, directory))
    assert {row["prompt_id"] for row in rows(directory, events, "evaluations")} == {"p1", "p5"}
    table = [row | {"split": "train"} for row in table]
    directory = make_run(tmp_path / "none", config, ppo_models, {"prompts": table})
    with pytest.raises(UsageError, match="None of these prompts was held out"):
        list(run(config, directory))
