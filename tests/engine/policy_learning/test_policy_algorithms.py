"""GRPO and RLOO on the fake model, and what they share with PPO: rewards, safety, resume."""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from engine.errors import UsageError, WorkbenchError
from engine.models.packing import Row
from engine.models.reward_model import load_reward_model
from engine.policy_learning import loop as policy_learning
from engine.policy_learning import prompts as policy_prompts
from engine.policy_learning.rewards.rewards import Rewards
from engine.policy_learning.rewards.score_scale import RewardScores, ScoreScale
from engine.protocol.events import Finished, Message, Metrics, Output, Stopped
from engine.protocol.rewards import Component, Ensemble
from engine.training.policy import Policy
from tests.engine.models.test_reward_model import frozen_folder
from tests.engine.policy_learning.jobs import CONFIGS, Job
from tests.engine.training.runs import only, prompts, rise
from tests.sampled import sampled

KINDS = list(CONFIGS)


@pytest.fixture(autouse=True)
def _few_reference_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_prompts, "REFERENCE_SAMPLES", 6)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", KINDS)
def test_paused_and_killed_runs_end_with_the_same_weights(
    tmp_path: Path, ppo_models: dict[str, Path], kind: str
) -> None:
    bounds = {"constraints": ("reward_model <= -1", "reward_model >= 9")} if kind == "rloo" else {}
    whole = Job(tmp_path / "whole", ppo_models, kind, **bounds)
    whole.events()
    broken = Job(tmp_path / "broken", ppo_models, kind, checkpoint_every=0, **bounds)
    broken.run.pause_path.touch()
    first = broken.events()
    assert first[-1] == Stopped(paused=True)
    assert [event.step for event in only(first, Metrics)] == [1]
    assert broken.run.latest_checkpoint() == broken.run.checkpoint_dir(1)
    broken.run.pause_path.unlink()
    job = broken.start()
    for event in job:
        if isinstance(event, Output) and event.step == 3:
            break  # in the middle of the last step
    job.close()
    rest = broken.events()
    assert [event.step for event in only(rest, Metrics)] == [2, 3]  # the paused step is not repeated
    assert isinstance(rest[-1], Finished)
    assert same(whole.weights(), broken.weights())


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_pass_has_ratio_one_and_everything_is_finite(
    tmp_path: Path, ppo_models: dict[str, Path], kind: str
) -> None:
    job = Job(tmp_path / "run", ppo_models, kind, steps=1, epochs=1, minibatches=1)
    (metrics,) = only(job.events(), Metrics)
    assert metrics.values["policy/ratio_mean"] == pytest.approx(1, abs=1e-5)
    assert metrics.values["policy/clip_fraction"] == 0
    assert metrics.values["policy/kl"] == pytest.approx(0, abs=1e-4)
    assert all(value is not None and math.isfinite(value) for value in metrics.values.values())
    has_critic = kind == "shared"
    assert ("policy/value_loss" in metrics.values) == has_critic
    assert ("policy/critic_grad_norm" in metrics.values) == has_critic
    assert ("policy/kl_loss" in metrics.values) == (kind == "grpo")
    traces = pq.read_table(job.run.trace_path(1)).to_pylist()
    assert all((row["value"] is not None) == has_critic for row in traces)


def test_grpo_tokens_share_the_advantage_of_their_response(
    tmp_path: Path, ppo_models: dict[str, Path]
) -> None:
    job = Job(tmp_path / "run", ppo_models, "grpo", steps=1, missing_stop_penalty=-2.0)
    job.events()
    rollouts = pq.read_table(job.run.output_path("rollouts", 1)).to_pylist()
    traces = pq.read_table(job.run.trace_path(1)).to_pylist()
    for prompt in {row["prompt_id"] for row in rollouts}:
        group = [row for row in rollouts if row["prompt_id"] == prompt]
        rewards = torch.tensor([row["reward"] for row in group])  # the KL is in the loss, not in the reward
        expected = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
        for row, advantage in zip(group, expected.tolist(), strict=True):
            own = {
                t["advantage"]
                for t in traces
                if (t["prompt_id"], t["sample_index"]) == (prompt, row["sample_index"])
            }
            assert sorted(own) == pytest.approx([advantage], abs=1e-5)


def ascii_share(self: Rewards, conversations: list[Any], budget: int) -> RewardScores:
    scores = torch.tensor(
        [float(sum(c.isascii() for c in text)) / (len(text) or 1) for _, text, *_ in conversations]
    )
    return RewardScores({"reward_model": scores[None]}, {"reward_model": scores}, scores)


@pytest.mark.parametrize("kind", sampled(KINDS, "grpo"))
def test_raises_a_synthetic_reward(
    tmp_path: Path, ppo_models: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's rise has mean 0.58 … 0.61 and standard deviation 0.04 … 0.07 over ten seeds (the three kinds).

    So the mean of two falls below 0.25 seven deviations from where it should be, once in 10¹¹ runs of the
    worst kind; what does not learn rises by 0 ± 0.03, eight deviations below.
    """
    monkeypatch.setattr(Rewards, "score", ascii_share)
    rises = []
    for seed in (0, 1):
        job = Job(
            tmp_path / f"run-{seed}", ppo_models, kind, steps=24, samples=16, epochs=2, minibatches=1,
            tuning="full", learning_rate=1e-2, target_kl_update=0.0, beta=0.0, kl="fixed", kl_bound=1e9,
            missing_stop_penalty=0.0, checkpoint_every=0, trace_every=0, collapse="ignore", seed=seed,
        )  # fmt: skip
        rises.append(rise([event.values["policy/score"] for event in only(job.events(), Metrics)]))  # type: ignore[misc]
    assert sum(rises) / 2 > 0.25


FUNCTIONS = """
def length(prompt, response):
    return float(len(response))

def fails(prompt, response):
    raise KeyError("x")

def exits(prompt, response):
    raise SystemExit(3)

def endless(prompt, response):
    return float("nan")
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_rewards.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_rewards", raising=False)


@pytest.mark.usefixtures("functions")
def test_components_are_summed_logged_and_kept(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    models = {**ppo_models, "gold": ppo_models["reward_model"], "reward:harm": ppo_models["reward_model"]}
    job = Job(
        tmp_path / "run", models, "rloo", steps=2, rewards=("own_rewards:length*-0.5",), gold="gold",
        constraint="harm", constraint_bound=-10.0, gold_every=2,
        constraints=("own_rewards:length >= 900", "reward_model <= 900"),
    )  # fmt: skip
    events = job.events()
    first, second = [event.values for event in only(events, Metrics)]
    for step, values in enumerate((first, second), start=1):
        rows = pq.read_table(job.run.output_path("rollouts", step)).to_pylist()
        components = [json.loads(row["components"]) for row in rows]
        for row, found in zip(rows, components, strict=True):
            assert found["own_rewards:length"] == len(row["text"])
            expected = found["reward_model"] - 0.5 * found["own_rewards:length"]
            assert row["score"] == pytest.approx(expected, abs=1e-4)
            assert found["harm"] == pytest.approx(found["reward_model"], abs=1e-5)
        mean = sum(found["own_rewards:length"] for found in components) / len(components)
        assert values["reward/own_rewards:length"] == pytest.approx(mean)
        assert values["policy/gold"] == pytest.approx(values["reward/reward_model"], abs=1e-5)
        for name in ("harm", "own_rewards:length", "reward_model"):
            cost = sum(found[name] for found in components) / len(components)
            assert values[f"cost/{name}"] == pytest.approx(cost, abs=1e-4)
    for name, rises in (("harm", True), ("own_rewards:length >=", True), ("reward_model", False)):
        assert first[f"multiplier/{name}"] == 1.0
        assert (second[f"multiplier/{name}"] > 1.0) == rises  # type: ignore[operator]


def test_a_checkpoint_of_a_version_with_one_constraint_goes_on(
    tmp_path: Path, ppo_models: dict[str, Path]
) -> None:
    """One as that version wrote it leads to the weights that a run has which never stopped."""
    models = {**ppo_models, "reward:harm": ppo_models["reward_model"]}
    changes: dict[str, Any] = {"steps": 2, "constraint": "harm", "constraint_bound": 0.0, "multiplier": 2.0}
    whole, old = (Job(tmp_path / name, models, "rloo", **changes) for name in ("whole", "old"))
    said = only(whole.events(), Metrics)[-1].values
    old.run.pause_path.touch()
    old.events()
    old.run.pause_path.unlink()
    path = old.run.checkpoint_dir(1) / "state.json"
    saved = json.loads(path.read_text())
    state = saved["state"]
    (spread,) = state["scale"].pop("cost_stds").values()
    state["scale"]["cost_std"] = spread
    state["multiplier"] = state.pop("multipliers")["harm"]
    del state["multiplier_levels"]
    assert spread not in (0.0, 1.0)
    path.write_text(json.dumps(saved))
    assert only(old.events(), Metrics)[-1].values["multiplier/harm"] == said["multiplier/harm"]
    one, other = whole.weights(), old.weights()
    assert all(bool((one[name] == other[name]).all()) for name in one)


@pytest.mark.usefixtures("functions")
@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("own_rewards:fails", "own_rewards:fails failed"),
        ("own_rewards:exits", r"own_rewards:exits failed \(SystemExit: 3\)"),
        ("own_rewards:endless", "own_rewards:endless gave nan"),
        ("own_rewards:missing", "own_rewards:missing does not exist"),
        ("no_such_package.x:f", "no_such_package.x:f cannot be imported"),
    ],
)
def test_a_reward_function_that_cannot_be_used_is_named(
    tmp_path: Path, ppo_models: dict[str, Path], path: str, sentence: str
) -> None:
    job = Job(tmp_path / "run", ppo_models, "rloo", rewards=(path,))
    with pytest.raises(UsageError, match=sentence):
        job.events()


@pytest.mark.usefixtures("functions")
def test_functions_alone_are_a_reward_and_a_critic_starts_from_the_policy(
    tmp_path: Path, ppo_models: dict[str, Path]
) -> None:
    models = {"policy": ppo_models["policy"]}
    changes: dict[str, Any] = {"reward_model": "", "rewards": ("own_rewards:length",), "steps": 1}
    for kind, more in (("grpo", {}), ("shared", {"critic": "separate"})):
        events = Job(tmp_path / kind, models, kind, **changes, **more).events()
        assert isinstance(events[-1], Finished)


class OutOfMemory:
    """Lets the policy see at most so many responses at once, while gradients are taken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        self.failures = 0
        forward = Policy.forward

        def limited(policy: Policy, rows: list[Any], **kinds: bool) -> Any:
            if torch.is_grad_enabled() and sum(len(row.responses) for row in rows) > most:
                self.failures += 1
                raise RuntimeError(
                    "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"
                )
            return forward(policy, rows, **kinds)

        monkeypatch.setattr(Policy, "forward", limited)


@pytest.mark.parametrize("kind", sampled(["grpo", "shared"], "grpo"))
def test_out_of_memory_halves_the_micro_batch_and_changes_nothing(
    tmp_path: Path, ppo_models: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Job(tmp_path / "small", ppo_models, kind, microbatch=2, minibatches=1)
    small.events()
    limit = OutOfMemory(monkeypatch, most=3)
    halved = Job(tmp_path / "halved", ppo_models, kind, microbatch=8, minibatches=1)
    events = halved.events()
    told = [event.text for event in only(events, Message) if "Memory ran out" in event.text]
    assert told == [
        "Memory ran out, so 4 sequences go through the model at once from here on, or fewer; "
        "the result is the same."
    ]
    assert limit.failures == 2  # of 6 responses at once, and of 4
    one, other = small.weights(), halved.weights()
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=2e-4, rtol=1e-3)


def test_memory_that_is_never_enough_is_an_error(
    tmp_path: Path, ppo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    OutOfMemory(monkeypatch, most=0)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        Job(tmp_path / "run", ppo_models, "rloo", microbatch=4).events()


@pytest.mark.parametrize("what", ["warn", "stop", "ignore"])
def test_collapsed_entropy_is_told_or_stops_with_the_batch(
    tmp_path: Path, ppo_models: dict[str, Path], what: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def collapsed(rollout: Any, measured: Any, targets: Any, beta: float) -> dict[str, float]:
        return {**metrics(rollout, measured, targets, beta), "policy/entropy": 1e-3}

    metrics = policy_learning.rollout_metrics
    monkeypatch.setattr(policy_learning, "rollout_metrics", collapsed)
    job = Job(tmp_path / "run", ppo_models, "rloo", steps=2, collapse=what)
    kept = job.run.path / "failed-batch" / "tensors.safetensors"
    if what == "stop":
        with pytest.raises(WorkbenchError, match="entropy of responses has collapsed"):
            job.events()
    else:
        told = [event.text for event in only(job.events(), Message) if "collapsed" in event.text]
        assert len(told) == (what == "warn")
    assert kept.exists() == (what != "ignore")


@pytest.mark.parametrize("kind", KINDS)
def test_mini_batches_are_steps_of_the_optimiser(
    tmp_path: Path, ppo_models: dict[str, Path], kind: str
) -> None:
    job = Job(tmp_path / "run", ppo_models, kind, steps=1, epochs=2, minibatches=3, target_kl_update=0.0)
    (metrics,) = only(job.events(), Metrics)
    assert metrics.values["policy/optimiser_steps"] == 6


def test_a_minimum_of_ensemble_members_is_what_is_maximised() -> None:
    members = torch.tensor([[1.0, 5.0, 3.0], [3.0, 1.0, 2.0]])
    scored = RewardScores({"rm": members}, {"rm": members.mean(dim=0)}, members.mean(dim=0))

    def combined(ensemble: str) -> list[float]:
        part = SimpleNamespace(component=Component("rm"))
        rewards = Rewards([part], Ensemble.parse(ensemble))
        return rewards.combined(scored, ScoreScale(), torch.tensor([0, 0, 0])).tolist()

    assert combined("") == [2.0, 3.0, 2.5]
    assert combined("minimum") == [1.0, 1.0, 2.0]
    assert combined("mean-variance:1") == [2.0 - 1, 3.0 - 4, 2.5 - 0.25]
    # apart from the others of the prompt: −3, 3, 0 and 1.5, −1.5, 0
    assert combined("mean-deviation:2") == [2.0 - 4.5, 3.0 - 4.5, 2.5]


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_a_frozen_reward_model_with_an_ensemble_is_reward_and_critic(
    tmp_path: Path, ppo_models: dict[str, Path], tuning: Any
) -> None:
    folder = tmp_path / "frozen"
    frozen_folder(ppo_models["policy"], folder, ensemble=3)
    models = {**ppo_models, "reward_model": folder}
    job = Job(
        tmp_path / "run", models, "shared", critic="separate", tuning=tuning, steps=2, epochs=1,
        ensemble="mean-deviation:0.5" if tuning == "lora" else "mean-variance:0.5",
    )  # fmt: skip
    first, second = [event.values for event in only(job.events(), Metrics)]
    rows = pq.read_table(job.run.output_path("rollouts", 2)).to_pylist()
    reward_model = load_reward_model(folder, "float32")
    for row in rows:  # scored without the adapters that the critic has on the same trunk
        messages = next(json.loads(p["messages"]) for p in prompts() if p["prompt_id"] == row["prompt_id"])
        tokens = reward_model.tokeniser.encode_for_score(messages, row["text"])
        members = reward_model.members([Row(tokens.prompt, [tokens.response])])
        assert members is not None
        assert row["score"] == pytest.approx(float(members[:, 0, 0].mean()), abs=1e-4)
    assert first["policy/value_loss"] != second["policy/value_loss"]
