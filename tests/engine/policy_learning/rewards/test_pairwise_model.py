"""Online DPO and SPPO on samples that a pairwise preference model compares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from engine.errors import UsageError
from engine.models.reward_model import load_reward_model
from engine.objectives.preference import mean_wins
from engine.policy_learning import online_dpo
from engine.policy_learning import prompts as policy_prompts
from engine.policy_learning.rewards.pairwise import PairwiseModel
from engine.policy_learning.rewards.parts import Conversation
from engine.protocol.configs import OnlineDPOConfig
from engine.protocol.events import Metrics, Output
from engine.reward_learning.frozen.fit import save_frozen
from engine.scoring.head import RewardHead
from engine.scoring.preference import PreferenceHead
from tests.engine.training.runs import make_run, only, prompts

CONFIG = OnlineDPOConfig(
    name="better", policy="p", device="cpu", dtype="float32", steps=1, prompts_per_step=2, samples=4,
    max_new_tokens=6, checkpoint_every=0, trace_every=0, compare="preference", preference="pairwise model",
    loss="sppo",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _few_reference_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_prompts, "REFERENCE_SAMPLES", 6)


@pytest.fixture(scope="module")
def folder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frozen reward model with a random preference model beside it that hardly knows scores."""
    place = tmp_path_factory.mktemp("pairwise") / "model"
    draw = np.random.default_rng(0)
    centre, scale = np.zeros(64, dtype=np.float32), np.ones(64, dtype=np.float32)
    weight = draw.normal(size=(1, 64)).astype(np.float32)
    head = RewardHead(
        weight, np.zeros(1, dtype=np.float32), ("overall",), (1, 2), ("last",), "frozen", centre=centre,
        scale=scale,
    )  # fmt: skip
    save_frozen(tiny_model, place, head)
    directions = draw.normal(size=(1, 6, 64)).astype(np.float32)
    upper = draw.normal(size=(1, 6, 6)).astype(np.float32)
    PreferenceHead(0.01 * weight, directions, upper, centre, scale, ("overall",), (1, 2), ("last",)).save(
        place
    )
    return place


def test_samples_are_compared_by_the_model(tmp_path: Path, ppo_models: dict[str, Path], folder: Path) -> None:
    assert CONFIG.inputs().reward_models == {"pairwise": "pairwise model"}
    models = {"policy": ppo_models["policy"], "pairwise": folder}
    run = make_run(tmp_path / "run", CONFIG, models, {"prompts": prompts()})
    events = list(online_dpo.run(CONFIG, run))
    (values,) = [event.values for event in only(events, Metrics)]
    (told,) = [event for event in only(events, Output) if event.kind == "rollouts"]
    rows = pq.read_table(run.path / told.path).to_pylist()
    comparing = PairwiseModel.load("pairwise model", folder, load_reward_model(folder, "float32"))
    asked = {row["prompt_id"]: row["messages"] for row in prompts()}
    shares = []
    for prompt in dict.fromkeys(row["prompt_id"] for row in rows):
        texts = [row["text"] for row in rows if row["prompt_id"] == prompt]
        chat = [{"role": "user", "content": asked[prompt].split('"')[-2]}]
        wins = comparing.wins([Conversation(chat, text, []) for text in texts])
        torch.testing.assert_close(wins + wins.T, torch.ones_like(wins))
        shares.append(mean_wins(wins, torch.zeros(len(texts), dtype=torch.long)))
    assert values["policy/objective"] == pytest.approx(float(torch.cat(shares).mean()), abs=1e-5)
    assert values["policy/intransitive"] is not None


def test_a_reward_model_without_one_is_named(ppo_models: dict[str, Path]) -> None:
    plain = ppo_models["reward_model"]
    with pytest.raises(UsageError, match="first has no pairwise"):
        PairwiseModel.load("first", plain, load_reward_model(plain, "float32"))
