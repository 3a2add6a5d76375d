"""PPO and GRPO with a process reward model that pays at the end of each step; best-of-n by its steps."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from engine.errors import UsageError
from engine.models.reward_model import load_reward_model
from engine.policy_learning import grpo, ppo
from engine.policy_learning import prompts as policy_prompts
from engine.policy_learning.rewards.parts import Conversation
from engine.policy_learning.rewards.process import step_rewards
from engine.protocol.configs import GRPOConfig, PPOConfig, RLOOConfig
from engine.protocol.events import Event, Metrics, Output
from engine.protocol.rundir import RunDir
from engine.reward_learning.frozen.fit import save_frozen
from engine.scoring.head import RewardHead
from engine.steps import step_ends, steps_in
from engine.text import Tokeniser
from tests.engine.training.runs import make_run, only, prompts

SETTINGS: dict[str, Any] = {
    "name": "better", "reward_model": "reward_model", "policy": "p", "device": "cpu", "dtype": "float32",
    "steps": 1, "prompts_per_step": 3, "samples": 4, "max_new_tokens": 16, "epochs": 1, "kl": "fixed",
    "beta": 0.0, "checkpoint_every": 0, "trace_every": 1, "normalise_score": False, "collapse": "ignore",
    "process_reward": "process", "process_weight": 0.5,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _few_reference_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_prompts, "REFERENCE_SAMPLES", 6)


def process_folder(folder: Path, model: Path, separator: str) -> Path:
    """A random process reward model."""
    draw = np.random.default_rng(0)
    head = RewardHead(
        weight=draw.normal(size=(1, 64)).astype(np.float32),
        bias=np.zeros(1, dtype=np.float32),
        criteria=("steps",),
        layers=(1, 2),
        parts=("last",),
        kind="frozen",
        steps=separator,
    )
    save_frozen(model, folder, head)
    return folder


@pytest.fixture(scope="module")
def process_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return process_folder(tmp_path_factory.mktemp("process") / "model", tiny_model, "e")


def sampled(path: Path, kind: str, folders: dict[str, Path], **changes: Any) -> tuple[RunDir, list[Event]]:
    config: Any = (PPOConfig if kind == "ppo" else GRPOConfig)(**SETTINGS | changes)
    run = make_run(path, config, folders, {"prompts": prompts()})
    return run, list((ppo if kind == "ppo" else grpo).run(config, run))


def tables_of(run: RunDir, events: list[Event]) -> dict[str, list[dict[str, Any]]]:
    return {event.kind: pq.read_table(run.path / event.path).to_pylist() for event in only(events, Output)}


@pytest.mark.parametrize("kind", ["ppo", "grpo"])
def test_each_step_is_paid_where_it_ends(
    tmp_path: Path, ppo_models: dict[str, Path], tiny_model: Path, kind: str
) -> None:
    """What ends a step is a letter that these samples have: the first step's do not depend on who pays."""
    before = tables_of(*sampled(tmp_path / "before", kind, ppo_models, process_reward=""))["rollouts"]
    inner = Counter(letter for row in before for letter in set(row["text"][1:-1]) if letter.isalpha())
    (separator, _), *_ = inner.most_common(1)
    process = process_folder(tmp_path / "process", tiny_model, separator)
    run, events = sampled(tmp_path / "run", kind, {**ppo_models, "process": process})
    tables = tables_of(run, events)
    assert [row["text"] for row in tables["rollouts"]] == [row["text"] for row in before]
    policy = Tokeniser.from_folder(ppo_models["policy"])
    paying = step_rewards("process", load_reward_model(process, "float32"), 0.5, policy)
    asked = {row["prompt_id"]: row["messages"] for row in prompts()}
    several = 0
    for row in tables["rollouts"]:
        own = [
            t for t in tables["traces"]
            if (t["prompt_id"], t["sample_index"]) == (row["prompt_id"], row["sample_index"])
        ]  # fmt: skip
        ids = [t["token_id"] for t in own]
        messages = msgspec.json.decode(asked[row["prompt_id"]])
        conversation = Conversation(messages, row["text"], ids)
        (paid,) = paying.of([conversation], torch.ones(1, len(ids), dtype=torch.bool), 2048).tolist()
        assert [t["reward"] for t in own][:-1] == pytest.approx(paid[:-1], abs=1e-5)
        if row["stopped"]:
            assert own[-1]["reward"] == pytest.approx(paid[-1] + row["score"], abs=1e-4)
        places = [n for n, value in enumerate(paid) if value]
        assert places[-1] == len(ids) - 1
        assert len(places) <= len(step_ends(row["text"], separator))
        several += len(places) > 1
    assert several  # else the test says nothing
    (values,) = [event.values for event in only(events, Metrics) if "policy/step_reward" in event.values]
    assert values["policy/reward_steps"] > 1


def test_whole_responses_are_scored_by_their_steps(process_model: Path) -> None:
    """min, product, sum and last of the same steps, by the model that best-of-n and all others read."""
    model = load_reward_model(process_model, "float32")
    tokens = model.tokeniser.encode_for_score([{"role": "user", "content": "go"}], "onetwoethree")
    places = steps_in(model.tokeniser.pieces(tokens.response), "e")
    assert places.ends == [3, 7, 11, 12] or len(places.ends) >= 3
    pair = [(tokens.prompt, tokens.response)]
    found = {}
    for how in ("min", "product", "sum", "last"):
        model.aggregate = how  # type: ignore[assignment]
        found[how] = float(model.scores_of(pair)[0, 0])
    plain = load_reward_model(process_model, "float32")
    plain.steps = None
    each = [
        float(plain.scores_of([(tokens.prompt, tokens.response[: at + 1])])[0, 0]) for at in places.at
    ]  # the trunk reads from left to right: a step's score is that of the text up to its end
    chance = 1 / (1 + np.exp(-np.array(each)))
    assert found["min"] == pytest.approx(min(each), abs=1e-4)
    assert found["last"] == pytest.approx(each[-1], abs=1e-4)
    assert found["product"] == pytest.approx(np.log(chance).sum(), abs=1e-3)
    assert found["sum"] == pytest.approx(chance.sum(), abs=1e-4)


def test_a_model_without_steps_cannot_pay_for_them(ppo_models: dict[str, Path]) -> None:
    model = load_reward_model(ppo_models["reward_model"], "float32")
    with pytest.raises(UsageError, match="scores whole responses"):
        step_rewards("plain", model, 1.0, model.tokeniser)
    assert not {"process_reward", "process_weight"} & set(RLOOConfig.__struct_fields__)
