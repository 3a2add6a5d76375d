"""Small runs of policy learning, for the tests of their loop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file

from engine.policy_learning import grpo, ppo, rloo
from engine.protocol.configs import GRPOConfig, PolicyLearningConfig, PPOConfig, RLOOConfig
from engine.protocol.events import Event
from engine.protocol.rundir import RunDir
from tests.engine.training.runs import make_run, prompts

COMMON: dict[str, Any] = {
    "name": "better", "policy": "p", "reward_model": "reward_model", "device": "cpu", "dtype": "float32",
    "steps": 3, "prompts_per_step": 2, "samples": 3, "max_new_tokens": 6, "learning_rate": 5e-3,
    "checkpoint_every": 1, "trace_every": 1,
}  # fmt: skip
CONFIGS: dict[str, PolicyLearningConfig] = {
    "grpo": GRPOConfig(**COMMON, epochs=2, minibatches=2),
    "rloo": RLOOConfig(**COMMON),
    "shared": PPOConfig(**COMMON, critic="shared", epochs=2),
}
RUNS: dict[str, Callable[..., Any]] = {"grpo": grpo.run, "rloo": rloo.run, "shared": ppo.run}


class Job:
    """A run of one kind in a directory of its own."""

    def __init__(self, path: Path, models: dict[str, Path], kind: str, **changes: Any) -> None:
        self.config = msgspec.structs.replace(CONFIGS[kind], **changes)
        self.run: RunDir = make_run(path, self.config, models, {"prompts": prompts()})
        self.kind = kind

    def start(self) -> Any:
        return RUNS[self.kind](self.config, self.run)

    def events(self) -> list[Event]:
        return list(self.start())

    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.run.path / "model" / "model.safetensors")
