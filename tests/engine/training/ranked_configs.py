"""What several processes train together in the tests: one small run of every kind."""

from __future__ import annotations

from typing import Any

from engine.protocol.configs import (
    DPOConfig,
    GRPOConfig,
    JobConfig,
    KTOConfig,
    NashMDConfig,
    ORPOConfig,
    PPOConfig,
    RewardConfig,
    RLOOConfig,
    SFTConfig,
)

POLICY: dict[str, Any] = {
    "name": "better", "policy": "p", "reward_model": "r", "device": "cpu", "dtype": "float32", "steps": 2,
    "prompts_per_step": 3, "samples": 2, "max_new_tokens": 5, "learning_rate": 1e-3, "trace_every": 1,
    "epochs": 2,
}  # fmt: skip
STORED: dict[str, Any] = {
    "name": "better", "policy": "p", "device": "cpu", "dtype": "float32", "learning_rate": 1e-3,
    "batch_prompts": 5, "holdout": 0.25,
}  # fmt: skip
CONFIGS: dict[str, JobConfig] = {
    "ppo, separate critic": PPOConfig(**POLICY, minibatches=2),
    "ppo, shared critic, every weight": PPOConfig(**POLICY, critic="shared", tuning="full"),
    "grpo": GRPOConfig(**POLICY, minibatches=2),
    "rloo": RLOOConfig(**POLICY),
    "rloo, judges": RLOOConfig(
        **{**POLICY, "reward_model": "", "steps": 1, "rewards": ("judge:far.toml", "judge:near.toml*2")}
    ),
    "nash-md, judge": NashMDConfig(
        **{**POLICY, "reward_model": "", "steps": 1, "epochs": 1},
        compare="preference",
        preference="judge:near.toml",
    ),
    "dpo": DPOConfig(**STORED),
    "kto": KTOConfig(**STORED),
    "orpo": ORPOConfig(**STORED),
    "sft": SFTConfig(**STORED),
    "reward model": RewardConfig(
        name="r", policy="p", tuning="lora", device="cpu", dtype="float32", epochs=1, batch_prompts=3,
        learning_rate=1e-3, ensemble=2, objective="davidson",
    ),
}  # fmt: skip
DIVIDED = ("ppo, separate critic", "ppo, shared critic, every weight", "dpo", "reward model")
"""Whose weights two processes divide in every run of the tests; the other algorithms' in slow ones."""
ENDLESS: dict[str, Any] = {"steps": 2000, "checkpoint_every": 1}
