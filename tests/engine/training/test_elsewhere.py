"""Every algorithm's step on a device that is not the processor: nothing is made on the wrong one."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.jobs import generate
from engine.offline_learning import cpo, dpo, kto, orpo, sft, simpo
from engine.policy_learning import grpo, nash_md, online_dpo, ppo, rloo
from engine.protocol.configs import (
    CPOConfig,
    DPOConfig,
    GenerateConfig,
    GRPOConfig,
    JobConfig,
    KTOConfig,
    NashMDConfig,
    OnlineDPOConfig,
    ORPOConfig,
    PPOConfig,
    RewardConfig,
    RLOOConfig,
    SFTConfig,
    SimPOConfig,
)
from engine.protocol.events import Finished, Metrics, Output
from engine.reward_learning import job as reward
from tests.engine.pretend_gpu import GPU, pretend_gpu
from tests.engine.training.runs import make_run, only, prompts, rankings
from tests.sampled import sampled

COMMON: dict[str, Any] = {"device": "cuda", "dtype": "float32"}
LEARNS: dict[str, Any] = COMMON | {
    "name": "better", "policy": "p", "reward_model": "reward_model", "steps": 1, "prompts_per_step": 2,
    "samples": 2, "max_new_tokens": 4, "trace_every": 1, "heldout_prompts": "share", "evaluate_prompts": 1,
}  # fmt: skip
STORED: dict[str, Any] = COMMON | {"name": "better", "policy": "p", "epochs": 1}
JOBS: dict[str, tuple[Callable[..., Any], JobConfig]] = {
    "ppo": (ppo.run, PPOConfig(**LEARNS, entropy_bonus=0.01)),
    "ppo, every weight, shared": (ppo.run, PPOConfig(**LEARNS, critic="shared", tuning="full")),
    "grpo": (grpo.run, GRPOConfig(**LEARNS, beta=0.1)),
    "rloo": (rloo.run, RLOOConfig(**LEARNS)),
    "nash-md": (nash_md.run, NashMDConfig(**LEARNS)),
    "online dpo": (online_dpo.run, OnlineDPOConfig(**LEARNS)),
    "dpo": (dpo.run, DPOConfig(**STORED)),
    "dpo, offloaded": (dpo.run, DPOConfig(**STORED, activations="offload")),
    "dpo, every weight": (dpo.run, DPOConfig(**STORED, tuning="full")),
    "simpo": (simpo.run, SimPOConfig(**STORED)),
    "cpo": (cpo.run, CPOConfig(**STORED)),
    "orpo": (orpo.run, ORPOConfig(**STORED)),
    "kto": (kto.run, KTOConfig(**STORED)),
    "sft": (sft.run, SFTConfig(**STORED)),
    "reward": (
        reward.run,
        RewardConfig(**COMMON, name="rm", policy="p", epochs=1, tuning="lora", objective="davidson"),
    ),
    "reward, every weight": (
        reward.run,
        RewardConfig(
            **COMMON, name="rm", policy="p", epochs=1, tuning="full", lm_coefficient=0.1, ensemble=2,
            activations="recompute",
        ),
    ),
    "reward, frozen": (reward.run, RewardConfig(**COMMON, name="rm", policy="p", tuning="frozen")),
    "generate": (generate.run, GenerateConfig(**COMMON, policy="p", samples=2, max_new_tokens=4)),
}  # fmt: skip
DEFAULT = (
    "ppo", "nash-md", "dpo, offloaded", "kto", "sft", "reward, every weight", "reward, frozen", "generate",
)  # fmt: skip
"""One of each kind of step."""


@pytest.mark.parametrize("name", sampled(JOBS, *DEFAULT))
def test_a_step_of_each_algorithm_stays_on_its_device(
    name: str, ppo_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sampling, forward, loss, backward, optimiser, evaluation, saving: on a GPU that is pretended."""
    function, config = JOBS[name]
    tables = {"prompts": prompts(), "rankings": rankings(6)}
    run = make_run(tmp_path / "run", config, ppo_models, tables)
    with pretend_gpu(monkeypatch) as gpu:
        events = list(function(config, run))
    assert only(events, Finished) or only(events, Output)
    metrics = [pair for event in only(events, Metrics) for pair in event.values.items()]
    # one held-out prompt has no correlation
    assert all(math.isfinite(value) for name, value in metrics if not name.endswith("correlation"))
    assert gpu.operations > 100


def test_the_pretended_gpu_refuses_what_cuda_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    here = torch.ones(3)
    with pretend_gpu(monkeypatch):
        there = torch.tensor([1.0, 2.0, 3.0], device=GPU)
        linear = torch.nn.Linear(3, 2)
        linear.to(GPU)
        for wrong in (
            lambda: there + here,
            lambda: torch.where(here > 0, there, 0),
            lambda: here[there.long()],
            lambda: torch.cat([here, there]),
            lambda: linear(here),
            lambda: linear.weight.mul_(torch.ones(2, 3)),
        ):
            with pytest.raises(RuntimeError, match="same device"), torch.no_grad():
                wrong()
        with pytest.raises(TypeError, match="numpy"):
            there.numpy()
        assert (there + torch.tensor(2.0)).device == there[torch.tensor([0])].device == GPU
        assert there.cpu().tolist() == there.tolist() == [1.0, 2.0, 3.0]
        linear(there).sum().backward()
        assert linear.weight.grad is not None
        assert linear.weight.grad.device == GPU
