"""Small runs of policy learning, for the tests of their loop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from engine.policy_learning import grpo, ppo, rloo
from engine.protocol.configs import GRPOConfig, PolicyLearningConfig, PPOConfig, RLOOConfig
from tests.engine.training.runs import TrainingJob, make_run, prompts

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


class Job(TrainingJob):
    """A run of one kind on a few prompts."""

    def __init__(self, path: Path, models: dict[str, Path], kind: str, **changes: Any) -> None:
        config = msgspec.structs.replace(CONFIGS[kind], **changes)
        super().__init__(config, make_run(path, config, models, {"prompts": prompts()}), RUNS[kind])
