"""A worker killed with SIGKILL at random moments ends with the weights of one never killed, bit for bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from engine.protocol.configs import JobConfig, PPOConfig, RewardConfig
from engine.protocol.events import Metrics, Started
from engine.protocol.log import tail
from engine.protocol.rundir import RunDir
from tests.engine.training.runs import make_run, prompts, rankings

ROOT = Path(__file__).parents[3]
PPO = PPOConfig(
    name="p", policy="p", reward_model="r", tuning="lora", device="cpu", dtype="float32", steps=12,
    prompts_per_step=3, samples=3, max_new_tokens=8, epochs=2, learning_rate=5e-3, checkpoint_every=2,
    trace_every=0,
)  # fmt: skip
REWARD = RewardConfig(
    name="r", policy="p", tuning="full", device="cpu", dtype="float32", epochs=4, batch_prompts=2,
    learning_rate=1e-3, checkpoint_every=3,
)  # fmt: skip


def start(run: RunDir) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "engine.worker", str(run.path)]
    with (run.path / "stderr.log").open("ab") as errors:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=errors, stdout=subprocess.DEVNULL)


def steps_done(run: RunDir) -> int:
    """Steps that this process has told of; 0 until it has said something."""
    if not run.events_path.exists():
        return 0
    said = [envelope.event for envelope in tail(run.events_path).envelopes]
    starts = [place for place, event in enumerate(said) if isinstance(event, Started)]
    return sum(isinstance(event, Metrics) for event in said[starts[-1] :]) if starts else 0


def kill_at_random(run: RunDir, draw: random.Random) -> bool:
    """Start the worker and kill it after some of its steps; False when it had ended before."""
    before = len(tail(run.events_path).envelopes) if run.events_path.exists() else 0
    process, wanted = start(run), draw.randint(1, 5)
    while process.poll() is None:
        new = run.events_path.exists() and len(tail(run.events_path).envelopes) > before
        if new and steps_done(run) >= wanted:
            time.sleep(draw.uniform(0, 0.15))  # anywhere in a step, or within a checkpoint
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    return process.wait() == -signal.SIGKILL


def finish(run: RunDir) -> dict[str, torch.Tensor]:
    assert start(run).wait() == 0, (run.path / "stderr.log").read_text()[-2000:]
    return load_file(run.path / "model" / "model.safetensors")


def check(tmp_path: Path, config: JobConfig, folders: dict[str, Path], kills: int, seed: int) -> None:
    tables = {"prompts": prompts(), "rankings": rankings(12)}
    whole = finish(make_run(tmp_path / "whole", config, folders, tables))
    run = make_run(tmp_path / "killed", config, folders, tables)
    draw = random.Random(seed)
    done = sum(kill_at_random(run, draw) for _ in range(kills))
    assert done
    killed = finish(run)
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


@pytest.mark.slow
def test_ppo_survives_two_kills(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    check(tmp_path, PPO, ppo_models, kills=2, seed=0)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
def test_ppo_survives_twenty_kills(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    check(tmp_path, msgspec.structs.replace(PPO, steps=60), ppo_models, kills=20, seed=1)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(900)
def test_reward_survives_ten_kills(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    check(tmp_path, msgspec.structs.replace(REWARD, epochs=20), ppo_models, kills=10, seed=2)
