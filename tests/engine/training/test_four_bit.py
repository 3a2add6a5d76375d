"""Frozen weights in 4 bits under adapters."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.errors import UsageError
from engine.models.four_bit import bytes_of, is_quantised, put_back, quantise
from engine.models.lora import adapters_of
from engine.models.packing import Row
from engine.models.policy import load_policy
from engine.offline_learning import dpo
from engine.policy_learning import rloo
from engine.protocol.building import build
from engine.protocol.configs import DPOConfig, PPOConfig, RewardConfig, RLOOConfig
from engine.protocol.events import Finished, Message, Metrics
from engine.reward_learning import job as reward
from engine.rollout import sample
from engine.rollout.decoders import decoder_of
from engine.training.policy import Policy, load_trainable_policy
from tests.engine.training.runs import make_run, only, prompts, rankings

CPU = torch.device("cpu")
ROWS = [Row([5, 6, 7, 8], [[9, 10, 11], [12, 13]]), Row([14, 15], [[16, 17, 18, 19]])]
JOBS: dict[str, tuple[Any, Any]] = {
    "rloo": (
        rloo.run,
        RLOOConfig(
            name="x", policy="p", reward_model="r", base="4-bit", device="cpu", dtype="float32", steps=2,
            prompts_per_step=2, max_new_tokens=5, learning_rate=1e-2, heldout_prompts="none",
        ),
    ),
    "dpo": (dpo.run, DPOConfig(name="x", policy="p", base="4-bit", device="cpu", dtype="float32")),
    "reward": (
        reward.run,
        RewardConfig(name="x", policy="p", tuning="lora", base="4-bit", device="cpu", dtype="float32"),
    ),
}  # fmt: skip


@pytest.fixture
def library() -> None:
    pytest.importorskip("torchao", reason="torchao, which quantises, is not installed")


def policy_of(folder: Path, base: Any) -> Policy:
    """With adapters that change something."""
    policy = load_trainable_policy(
        folder, dtype="float32", device="cpu", lora_rank=4, seed=1, base=base, with_reference=False
    )
    for number, (name, parameter) in enumerate(policy.model.named_parameters()):
        if "lora_B" in name:
            generator = torch.Generator().manual_seed(number)
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.05
    return policy


@pytest.mark.usefixtures("library")
def test_blocks_take_a_quarter_and_nothing_else_is_touched(tiny_model: Path) -> None:
    policy, whole = policy_of(tiny_model, "4-bit"), load_policy(tiny_model, "float32")
    plain = dict(whole.named_parameters())
    names = {f"{name}.base_layer.weight" for name in adapters_of(policy.model)}
    for name, parameter in policy.model.named_parameters():
        assert is_quantised(parameter) == (name in names)
        if name in names:
            before = plain[name.replace(".base_layer", "")]
            assert bytes_of(parameter) < before.numel() * 0.8  # 4 bits, and scales of few blocks
            apart = (put_back(parameter) - before.detach()).norm() / before.detach().norm()
            assert 0.01 < float(apart) < 0.12  # NF4 of a normal distribution: 0.09
        elif "lora_" not in name:
            assert torch.equal(parameter, plain[name])


@pytest.mark.usefixtures("library")
def test_it_computes_what_the_weights_put_back_do(tiny_model: Path) -> None:
    """Log-probabilities and gradients of the adapters: those of a plain model with the same numbers."""
    policy, twin = policy_of(tiny_model, "4-bit"), policy_of(tiny_model, "whole")
    untouched = twin.forward(ROWS).logprobs
    parameters = dict(policy.model.named_parameters())
    with torch.no_grad():
        for name, parameter in twin.model.named_parameters():
            parameter.copy_(put_back(parameters[name]))
    logprobs = []
    for one in (policy, twin):
        out = one.forward(ROWS)
        (out.logprobs * torch.linspace(1, 2, out.logprobs.shape[1])).sum().backward()
        logprobs.append(out.logprobs.detach())
    torch.testing.assert_close(*logprobs, atol=1e-5, rtol=0)
    gradients = {name: p.grad for name, p in twin.model.named_parameters() if p.grad is not None}
    for name, gradient in gradients.items():
        torch.testing.assert_close(parameters[name].grad, gradient, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        policy.reference_logprobs(ROWS), twin.reference_logprobs(ROWS), atol=1e-5, rtol=0
    )
    apart = (logprobs[0] - untouched.detach()).abs()
    assert 0 < float(apart.mean()) < 0.5  # nats; a random model has larger logits than a trained one


@pytest.mark.usefixtures("library")
def test_the_lean_decoder_samples_what_training_measures(tiny_model: Path) -> None:
    policy = policy_of(tiny_model, "4-bit")
    (batch,) = sample(
        policy.model, policy.tokeniser, [[5, 6, 7]], samples=3, max_new_tokens=5, stop_ids=(), seeds=(3,)
    )
    row = Row([5, 6, 7], [response.token_ids for response in batch.responses])
    measured_N_T = policy.forward([row]).logprobs.detach()
    sampled_N_T = torch.tensor([response.logprobs for response in batch.responses])
    torch.testing.assert_close(sampled_N_T, measured_N_T, atol=1e-4, rtol=0)
    assert decoder_of(policy.model) == "generic"


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("kind", JOBS)
def test_a_job_trains_on_it_and_what_it_saves_loads_alike(
    kind: str, ppo_models: dict[str, Path], tmp_path: Path
) -> None:
    function, config = JOBS[kind]
    tables = {"prompts": prompts(), "rankings": rankings(6)}
    run = make_run(tmp_path / "run", config, ppo_models, tables)
    events = list(function(config, run))
    assert only(events, Finished)
    assert only(events, Metrics)
    assert any("are in 4 bits" in event.text for event in only(events, Message))
    saved = load_file(run.path / "model" / "model.safetensors")
    quantised = load_policy(ppo_models["policy"], "float32")
    quantise(quantised.requires_grad_(False), CPU)
    for name, base in quantised.named_parameters():
        name = name.removeprefix("model.") if kind == "reward" and name not in saved else name
        if is_quantised(base):  # the adapters' change is of low rank
            change = saved[name] - put_back(base)
            assert 0 < float(change.abs().max()) < 0.2
            assert int(torch.linalg.matrix_rank(change, atol=1e-5)) <= config.lora_rank


def test_what_it_cannot_go_with_is_refused() -> None:
    with pytest.raises(UsageError, match="set tuning to lora"):
        DPOConfig(name="x", policy="p", base="4-bit", tuning="full")
    with pytest.raises(UsageError, match="are not divided"):
        RewardConfig(name="x", policy="p", tuning="lora", base="4-bit", sharding="full", devices=2)
    with pytest.raises(UsageError, match="leave endpoint empty"):
        PPOConfig(name="x", reward_model="r", base="4-bit", endpoint="http://localhost:8000/v1")
    with pytest.raises(UsageError, match="it lies under adapters"):
        build(RewardConfig, {"name": "r", "tuning": "frozen", "base": "4-bit"})


def test_without_the_library_a_sentence_says_what_to_install(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(UsageError, match="pip install torchao"):
        quantise(load_policy(tiny_model, "float32").requires_grad_(False), CPU)
