"""Which settings a server of the Tinker API can carry: it knows a few losses by name, and adapters alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from engine.errors import UsageError
from engine.protocol.configs.common import check_endpoint

if TYPE_CHECKING:
    from engine.protocol.configs.policy import PolicyLearningConfig

Trainer = Annotated[
    str,
    Meta(
        description="A server that samples and trains the policy over the Tinker API (a prototype), "
        "http://localhost:8000; empty trains here."
    ),
]


def check_trainer(config: PolicyLearningConfig, trainer: str) -> None:
    """That the server, where there is one, can do what is asked.  Raises UsageError."""
    check_endpoint(trainer)
    if not trainer:
        return
    wanted = {
        "tuning": "lora", "endpoint": "", "devices": 1, "nodes": 1, "temperature": 1.0, "ratio": "token",
        "surrogate": "clipped", "entropy_bonus": 0.0, "heldout_prompts": "none", "policy_every": 0,
        "process_reward": "", "activations": "keep", "base": "whole",
    }  # fmt: skip
    for name, value in wanted.items():
        if getattr(config, name, value) != value:
            raise UsageError(
                f"A server of the Tinker API cannot carry {name} {getattr(config, name)}; leave it at "
                f"{value!r}, or leave trainer empty."
            )
    if getattr(config, "kl_loss", "k2") != "k2" and config.beta:
        raise UsageError(
            "A server of the Tinker API has no loss with another KL than k2's; set kl_loss to k2."
        )
