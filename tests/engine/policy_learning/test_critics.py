"""A critic with a trunk of its own, and one that shares the policy's."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from engine.policy_learning import prompts as policy_prompts
from engine.policy_learning import rollout as policy_rollout
from engine.policy_learning.models import load_models
from engine.policy_learning.ppo import PPO
from engine.policy_learning.prompts import read_prompts
from engine.policy_learning.rollout import collect, measure
from engine.policy_learning.update import Update, UpdateStats
from tests.engine.policy_learning.jobs import CONFIGS, Job
from tests.engine.training.runs import finished


@pytest.fixture(autouse=True)
def _few_reference_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_prompts, "REFERENCE_SAMPLES", 6)


def made(tmp_path: Path, models: dict[str, Path], **changes: Any) -> tuple[Any, Any, Any]:
    """A PPO learner with its models and a rollout that has been measured."""
    job = Job(tmp_path / "made", models, "shared", **changes)
    found = load_models(job.config, models, job.run, critic=job.config.critic)  # type: ignore[attr-defined]
    table = read_prompts(job.run.table("prompts"), found.policy.tokeniser, job.config, 512)
    rollout = finished(collect(found, table.of_step(0, 2, 0), job.config, 0, stage="sampling"))
    return found, rollout, finished(measure(found, rollout))


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_one_pass_gives_a_shared_critic_what_two_would(
    tmp_path: Path, ppo_models: dict[str, Path], tuning: Any
) -> None:
    models, rollout, measured = made(tmp_path, ppo_models, tuning=tuning)
    assert not measured.values.any()  # the head starts from zero
    torch.nn.init.normal_(models.critic.head.weight)
    everything = range(len(rollout.sampled))
    for rows, order in rollout.micro_batches(everything, 6):
        seen = models.policy.forward(rows)
        apart = models.policy.trunk.states(rows, "before")
        expected = models.critic.head(apart.hidden.float()).squeeze(-1) * apart.mask
        torch.testing.assert_close(models.critic.values(rows, seen), expected)
        torch.testing.assert_close(
            seen.logprobs.detach(), measured.logprobs[order, : seen.logprobs.shape[1]], atol=1e-5, rtol=0
        )


def test_a_shared_critic_teaches_the_trunk_and_holds_no_second_one(
    tmp_path: Path, ppo_models: dict[str, Path]
) -> None:
    models, rollout, measured = made(tmp_path, ppo_models, value_coefficient=1.0)
    assert sum(p.numel() for p in models.optimisers["critic"].masters.values()) == 33
    torch.nn.init.normal_(models.critic.head.weight)
    nothing = torch.zeros(rollout.mask.shape)
    targets = policy_rollout.Targets(nothing, nothing, nothing, returns=rollout.mask.float() * 3)
    job = Job(tmp_path / "update", ppo_models, "shared", value_coefficient=1.0, epochs=1)
    update = Update(PPO(job.config), models, rollout, measured, targets, 0.0, job.config, 0)  # type: ignore[arg-type]
    stats = finished(update.run())  # the advantages are 0, so the value loss alone moves the policy
    assert stats.grad_norms["policy"][0] > 0
    assert stats.grad_norms["critic"][0] > 0
    assert stats.minibatches[0].policy_loss == 0


@pytest.mark.parametrize("critic", ["separate", "shared"])
def test_gradients_of_the_critics_do_not_depend_on_micro_batches(
    tmp_path: Path, ppo_models: dict[str, Path], critic: Any
) -> None:
    models, rollout, measured = made(tmp_path, ppo_models, critic=critic)
    learner = PPO(msgspec.structs.replace(CONFIGS["shared"], critic=critic))  # type: ignore[arg-type]
    targets = learner.advantages(rollout, measured, measured.scores, 0.1)
    found = []
    for size in (1, 6):
        models.microbatches["training"].size = size
        update = Update(learner, models, rollout, measured, targets, 0.1, learner.config, 0)
        finished(update._minibatch(list(range(6)), UpdateStats(torch.ones(rollout.mask.shape)), 0, 6))
        gradients = [
            master.grad.clone()
            for optimiser in models.optimisers.values()
            for master in optimiser.masters.values()
            if master.grad is not None
        ]
        found.append(gradients)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)
