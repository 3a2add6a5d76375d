"""A policy and reward models small enough to optimise in a test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

STOPS = [2, *range(60, 110)]
"""Stop tokens of the talkative fake: end of sequence, and others that are not."""


@pytest.fixture(scope="session")
def ppo_models(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_reward: Path
) -> dict[str, Path]:
    """Folders of a policy with many stop tokens (a random model rarely says just one) and a reward model."""
    return {
        "policy": talkative(tmp_path_factory.mktemp("ppo") / "policy", tiny_model),
        "reward_model": tiny_reward,
    }


def talkative(policy: Path, model: Path) -> Path:
    """A copy of the model at `policy` that has many stop tokens."""
    shutil.copytree(model, policy)
    generation = json.loads((policy / "generation_config.json").read_text())
    (policy / "generation_config.json").write_text(json.dumps({**generation, "eos_token_id": STOPS}))
    return policy


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tiny models are quicker on one thread."""
    torch.set_num_threads(1)
