"""The estimate knows the packaged model, folders, and how fast the last run was."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from engine.protocol.configs import ExportConfig, GenerateConfig, PPOConfig
from engine.protocol.rundir import Inputs, ModelRef, RunDir
from storage import policies, runs
from storage.store import Store
from tests.storage.builders import add_prompt
from workbench.services.runs.estimates import PACKAGED_CONFIG, Estimating, estimated

PPO = PPOConfig(name="better", policy="smollm2", reward_model="rm", dtype="float32", device="cpu")


@pytest.fixture
def store() -> Store:
    return Store.open(":memory:")


def test_the_packaged_model_and_a_folder_of_the_same_sizes_need_the_same(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(dict(PACKAGED_CONFIG)))
    policies.ensure(store, "mine", model=str(tmp_path))
    packaged = estimated(store, PPO)
    assert packaged.memory_bytes is not None
    assert packaged == estimated(store, msgspec.structs.replace(PPO, policy="mine"))
    assert "GB of memory" in Estimating(store).sentence(PPO)


def test_a_model_that_is_not_here_is_not_guessed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[not json")
    for name in ("org/model", str(tmp_path)):
        estimate = estimated(store, msgspec.structs.replace(PPO, policy=name))
        assert estimate.memory_bytes is None
        assert "not known" in estimate.sentence
    assert Estimating(store).sentence(ExportConfig(reward_model="rm")) == ""


def test_the_pace_of_the_last_finished_run_counts(store: Store, tmp_path: Path) -> None:
    guess = estimated(store, PPO).seconds
    start = datetime(2026, 3, 4)
    (tmp_path / "config.json").write_text(json.dumps(dict(PACKAGED_CONFIG)))
    for number, (status, seconds) in enumerate([("done", 100), ("failed", 10)]):
        run = RunDir.create(tmp_path / f"ppo-{number}", PPO)
        run.write_inputs(Inputs(models={"policy": ModelRef("smollm2", str(tmp_path))}))
        runs.insert_run(store, f"ppo-{number}", "ppo", msgspec.to_builtins(PPO), run_dir=str(run.path))
        place = {"device": "cpu AVX2", "dtype": "float32"}  # as `PPO` asks
        times = {"started_at": start, "ended_at": start + timedelta(seconds=seconds)}
        runs.update_run(store, f"ppo-{number}", status=status, **times, **place)
    runs.insert_run(store, "ppo-old", "ppo", {"policy": "smollm2", "device": "auto", "gone": 1})
    runs.update_run(store, "ppo-old", status="done", started_at=start, ended_at=start + timedelta(seconds=9))
    assert estimated(store, PPO).seconds == pytest.approx(100)
    assert estimated(store, msgspec.structs.replace(PPO, steps=2 * PPO.steps)).seconds == pytest.approx(200)
    assert guess is not None
    other = msgspec.structs.replace(PPO, dtype="bfloat16")  # no run has been as fast or as slow as that
    assert estimated(store, other).seconds == pytest.approx(guess / 2)
    assert "in bfloat16" in estimated(store, other).sentence


def test_prompts_of_the_source_are_counted(store: Store) -> None:
    add_prompt(store, "A")
    one = estimated(store, GenerateConfig(policy="smollm2")).seconds
    add_prompt(store, "B")
    two = estimated(store, GenerateConfig(policy="smollm2")).seconds
    assert one is not None
    assert two == pytest.approx(2 * one)
    assert not estimated(store, GenerateConfig(policy="smollm2", prompts="elsewhere")).seconds


def test_what_another_machine_needs_is_not_guessed(store: Store) -> None:
    estimate = estimated(store, msgspec.structs.replace(PPO, on="gpu"))
    assert (estimate.memory_bytes, estimate.seconds) == (None, None)
    assert "gpu" in estimate.sentence
