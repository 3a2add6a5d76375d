"""The PPO job on the fake model: what it learns, what it counts, how it resumes and stops."""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from engine.errors import NonFiniteError, UsageError, WorkbenchError
from engine.policy_learning import prompts as policy_prompts
from engine.policy_learning.ppo import run
from engine.policy_learning.rewards.rewards import Rewards
from engine.policy_learning.rewards.score_scale import RewardScores
from engine.protocol.configs import PPOConfig
from engine.protocol.events import Artifact, Finished, Message, Metrics, Output
from engine.protocol.rundir import RunDir
from tests.engine.training.runs import make_run, only, prompts, rise
from tests.fakes import tiny_reward_folder
from tests.sampled import sampled

CONFIG = PPOConfig(
    name="better", reward_model="reward_model", policy="p", device="cpu", dtype="float32", steps=4,
    prompts_per_step=3, samples=4, max_new_tokens=10, learning_rate=5e-3, critic_learning_rate=5e-3,
    epochs=2, kl="adaptive", beta=0.02, checkpoint_every=1, trace_every=2,
)  # fmt: skip


def prepared(path: Path, models: dict[str, Path], **changes: Any) -> tuple[PPOConfig, RunDir]:
    config = msgspec.structs.replace(CONFIG, **changes)
    return config, make_run(path, config, models, {"prompts": prompts()})


@pytest.fixture(autouse=True)
def _few_reference_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_prompts, "REFERENCE_SAMPLES", 12)


def scored(scores: torch.Tensor) -> RewardScores:
    return RewardScores({"reward_model": scores[None]}, {"reward_model": scores}, scores)


def ascii_share(self: Rewards, conversations: list[Any], budget: int) -> RewardScores:
    """A reward that is plain to see: the share of characters that are ASCII."""
    return scored(
        torch.tensor([sum(c.isascii() for c in text) / (len(text) or 1) for _, text, *_ in conversations])
    )


@pytest.mark.parametrize("tuning", sampled(["lora", "full"], "lora"))
def test_raises_a_synthetic_reward(
    tmp_path: Path, ppo_models: dict[str, Path], tuning: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over eight seeds a run rises by 0.40 ± 0.08 (adapters) and 0.59 ± 0.03 (all weights).

    The mean of two with adapters falls below 0.1 five deviations from where it should be, less than once in
    10⁶ runs; what does not learn rises by 0 ± 0.03.
    """
    monkeypatch.setattr(Rewards, "score", ascii_share)
    rate = 3e-2 if tuning == "lora" else 1e-2
    rises = []
    for seed in (0, 1):
        config, directory = prepared(
            tmp_path / f"run-{seed}", ppo_models, tuning=tuning, steps=24, samples=16, max_new_tokens=6,
            epochs=2, learning_rate=rate, critic_learning_rate=rate, target_kl_update=0.0, beta=0.0,
            kl="fixed", kl_bound=1e9, missing_stop_penalty=0.0, checkpoint_every=0, trace_every=0,
            collapse="ignore", seed=seed,
        )  # fmt: skip
        events = list(run(config, directory))
        assert isinstance(events[-1], Finished)
        rises.append(rise([event.values["policy/score"] for event in only(events, Metrics)]))
    assert sum(rises) / 2 > 0.1


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_the_first_step_starts_at_the_reference(
    tmp_path: Path, ppo_models: dict[str, Path], tuning: Any
) -> None:
    config, directory = prepared(tmp_path / "run", ppo_models, tuning=tuning, steps=2)
    first, second = [event.values for event in only(run(config, directory), Metrics)]
    assert first["policy/kl"] == pytest.approx(0, abs=1e-4)
    assert second["policy/kl"] != first["policy/kl"]
    assert first["policy/ratio_max_deviation"] < 1e-4  # the sampler and the training forward agree
    assert all(math.isfinite(value) for value in first.values())


def test_rollouts_and_traces_hold_what_the_loss_saw(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    config, directory = prepared(tmp_path / "run", ppo_models, beta=0.1, steps=2, whiten_advantages=False)
    events = list(run(config, directory))
    outputs = only(events, Output)
    assert [(o.kind, o.step) for o in outputs] == [
        ("rollouts", 1), ("traces", 1), ("rollouts", 2), ("traces", 2),
    ]  # fmt: skip
    rollouts = pq.read_table(directory.path / outputs[2].path).to_pylist()
    traces = pq.read_table(directory.path / outputs[3].path).to_pylist()
    beta = only(events, Metrics)[1].values["policy/beta"]
    for row in rollouts:
        own = [
            t
            for t in traces
            if (t["prompt_id"], t["sample_index"]) == (row["prompt_id"], row["sample_index"])
        ]
        assert [t["position"] for t in own] == list(range(row["tokens"]))
        assert sum(t["reward"] for t in own) == pytest.approx(row["reward"], abs=1e-5)
        assert sum(t["kl"] for t in own) == pytest.approx(row["kl"], abs=1e-5)
        for t in own[:-1]:  # the score is added at the last token, and nowhere else
            assert t["reward"] == pytest.approx(-beta * (t["logprob"] - t["ref_logprob"]), abs=1e-6)
        if not row["stopped"]:
            assert row["tokens"] == config.max_new_tokens
            ended = [
                r["reward"] + beta * r["kl"]
                for r in rollouts
                if r["prompt_id"] == row["prompt_id"] and r["stopped"]
            ]
            if ended:  # as much below the others of its prompt, whatever their level
                level = sum(ended) / len(ended)
                final = row["reward"] + beta * row["kl"]
                assert final == pytest.approx(level + config.missing_stop_penalty, abs=1e-5)
        for t in own:
            assert t["return"] == pytest.approx(t["advantage"] + t["value"], abs=1e-5)


def test_metrics_can_be_computed_again_from_the_rollouts(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    config, directory = prepared(tmp_path / "run", ppo_models, steps=1)
    events = list(run(config, directory))
    values = only(events, Metrics)[0].values
    rows = pq.read_table(directory.path / only(events, Output)[0].path).to_pylist()

    def mean(name: str) -> float:
        return sum(row[name] for row in rows) / len(rows)

    assert values["policy/score"] == pytest.approx(mean("score"), abs=1e-5)
    assert values["policy/reward"] == pytest.approx(mean("reward"), abs=1e-5)
    assert values["policy/length"] == pytest.approx(mean("tokens"))
    assert values["policy/stopped"] == pytest.approx(mean("stopped"))
    kl_token = sum(row["kl"] for row in rows) / sum(row["tokens"] for row in rows)
    assert values["policy/kl_token"] == pytest.approx(kl_token, abs=1e-6)
    assert len({(row["prompt_id"], row["sample_index"]) for row in rows}) == len(rows) == 12


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_resumes_bit_for_bit(tmp_path: Path, ppo_models: dict[str, Path], tuning: Any) -> None:
    config, whole = prepared(tmp_path / "whole", ppo_models, tuning=tuning, normalise_score=True)
    list(run(config, whole))
    _, killed = prepared(tmp_path / "killed", ppo_models, tuning=tuning, normalise_score=True)
    for stop_after in (1, 2, 3):
        job = run(config, killed)
        for event in job:
            if isinstance(event, Output) and (event.step or 0) > stop_after:
                break  # in the middle of a step
        job.close()  # type: ignore[attr-defined]
    list(run(config, killed))
    one, other = (load_file(d.path / "model" / "model.safetensors") for d in (whole, killed))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_the_saved_policy_is_plain_and_has_moved(
    tmp_path: Path, ppo_models: dict[str, Path], tuning: Any
) -> None:
    config, directory = prepared(tmp_path / "run", ppo_models, tuning=tuning, steps=2)
    (artifact,) = only(run(config, directory), Artifact)
    assert (artifact.kind, artifact.name) == ("policy", "better")
    saved = AutoModelForCausalLM.from_pretrained(directory.path / artifact.path).state_dict()
    base = AutoModelForCausalLM.from_pretrained(ppo_models["policy"]).state_dict()
    assert saved.keys() == base.keys()
    moved = [name for name in base if not torch.equal(saved[name], base[name])]
    assert any("mlp" in name for name in moved)
    assert (tuning == "full") == ("model.embed_tokens.weight" in moved)


def test_leaving_the_kl_bound_stops_with_the_batch(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    config, directory = prepared(
        tmp_path / "run", ppo_models, kl_bound=1e-3, beta=0.0, kl="fixed", steps=9, learning_rate=0.05
    )
    with pytest.raises(WorkbenchError, match=r"left its bound: KL .* Raise beta"):
        list(run(config, directory))
    saved = load_file(directory.path / "failed-batch" / "tensors.safetensors")
    assert saved["tokens"].shape == saved["logprobs"].shape
    assert json.loads((directory.path / "failed-batch" / "details.json").read_text())["prompts"]


def test_a_broken_loss_stops_with_the_batch(
    tmp_path: Path, ppo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Rewards, conversations: list[Any], budget: int) -> RewardScores:
        return scored(torch.full((len(conversations),), math.nan))

    config, directory = prepared(tmp_path / "run", ppo_models, normalise_score=False)
    monkeypatch.setattr(Rewards, "score", broken)
    with pytest.raises(NonFiniteError, match="not finite at step 1"):
        list(run(config, directory))
    assert (directory.path / "failed-batch" / "tensors.safetensors").exists()


def test_a_reward_model_of_another_tokeniser_is_refused(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    other = tiny_reward_folder(tmp_path, seed=5)
    content = json.loads((other / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (other / "tokenizer.json").write_text(json.dumps(content))
    config, directory = prepared(tmp_path / "run", {**ppo_models, "reward_model": other})
    with pytest.raises(UsageError, match="different tokenisers"):
        list(run(config, directory))


def test_long_prompts_are_left_out_and_counted(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    config, directory = prepared(tmp_path / "run", ppo_models, max_prompt_tokens=23, steps=1)
    sentences = [event.text for event in only(run(config, directory), Message)]
    assert any("left out as too long" in text for text in sentences)
    config, directory = prepared(tmp_path / "none", ppo_models, max_prompt_tokens=3)
    with pytest.raises(UsageError, match="None of the"):
        list(run(config, directory))
