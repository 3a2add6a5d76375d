"""Policy learning on a server of the Tinker API: the same weights as here, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from engine.endpoints import tinker
from engine.errors import EndpointError, UsageError
from engine.policy_learning import grpo, rloo, rollout
from engine.policy_learning import prompts as policy_prompts
from engine.policy_learning.rewards.rewards import Rewards
from engine.protocol.configs import GRPOConfig, RLOOConfig
from engine.protocol.events import Event, Finished, Metrics
from engine.protocol.rundir import RunDir
from engine.training.policy import save_trained
from tests.engine.policy_learning.test_policy_algorithms import ascii_share
from tests.engine.tinker_like import Training, serving
from tests.engine.training.runs import make_run, only, prompts, rise
from tests.sampled import sampled

COMMON: dict[str, Any] = {
    "name": "better", "policy": "p", "reward_model": "r", "device": "cpu", "dtype": "float32", "steps": 3,
    "prompts_per_step": 2, "samples": 3, "max_new_tokens": 6, "learning_rate": 1e-2, "trace_every": 1,
    "checkpoint_every": 1, "lora_rank": 4, "beta": 0.2, "kl": "fixed",
}  # fmt: skip
CONFIGS: dict[str, GRPOConfig | RLOOConfig] = {
    "grpo": GRPOConfig(**COMMON),
    "grpo of tokens": GRPOConfig(**COMMON, loss_average="token", scale_advantages=False, clip_high=0.28),
    "rloo, two passes": RLOOConfig(
        **{**COMMON, "learning_rate": 3e-3}, epochs=2, minibatches=2, target_kl_update=0.0
    ),
}
JOBS = {GRPOConfig: grpo.run, RLOOConfig: rloo.run}


@pytest.fixture(autouse=True)
def _as_a_server_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few samples of the reference; seeds below 2³¹ here too, so that here and there the same is drawn."""
    monkeypatch.setattr(policy_prompts, "REFERENCE_SAMPLES", 6)
    seeds = rollout.prompt_seeds
    monkeypatch.setattr(rollout, "prompt_seeds", lambda *key: [seed % 2**31 for seed in seeds(*key)])


def run_of(path: Path, config: GRPOConfig | RLOOConfig, models: dict[str, Path]) -> RunDir:
    return make_run(path, config, models, {"prompts": prompts()})


def job(config: Any, run: RunDir) -> Any:
    return JOBS[type(config)](config, run)


def figures(events: list[Event]) -> list[dict[str, float]]:
    """What both know: the server does not say the norm of its gradient, nor the entropy."""
    apart = ("seconds", "grad_norm", "entropy", "policy_loss", "kl_loss", "deviation", "peak", "mfu", "flops")
    return [
        {name: value for name, value in event.values.items() if not any(part in name for part in apart)}
        for event in only(events, Metrics)
    ]


@pytest.mark.parametrize("kind", sampled(list(CONFIGS), "grpo"))
def test_a_server_trains_what_is_trained_here(tmp_path: Path, ppo_models: dict[str, Path], kind: str) -> None:
    config = CONFIGS[kind]
    here = run_of(tmp_path / "here", config, ppo_models)
    local = list(job(config, here))
    training = Training(ppo_models["policy"], lazy=True)
    with serving(training) as address:
        remote = msgspec.structs.replace(config, trainer=address)
        there = run_of(tmp_path / "there", remote, ppo_models)
        for event in (steps := job(remote, there)):  # killed after its second step, and resumed
            if isinstance(event, Metrics) and event.step == 2:
                break
        steps.close()
        events = list(job(remote, there))
    assert isinstance(events[-1], Finished)
    assert str(events[-1].summary["weights"]).startswith("tinker://model_1/sampler_weights/there-sampler-")
    for one, other in zip(figures(local)[1:], figures(events), strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert other[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    save_trained(training.policy, training.optimiser, ppo_models["policy"], tmp_path / "trained")
    ours, theirs = (
        load_file(path / "model.safetensors") for path in (here.path / "model", tmp_path / "trained")
    )
    start = load_file(ppo_models["policy"] / "model.safetensors")
    assert any((weight - start[name]).abs().max() > 1e-3 for name, weight in ours.items())
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], atol=1e-4, rtol=0)
    assert {"forward_backward", "optim_step", "asample", "save_weights_for_sampler"} <= set(training.calls)


@pytest.mark.slow
def test_raises_a_synthetic_reward(
    tmp_path: Path, ppo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the run here does (`test_policy_algorithms`); what does not learn rises by 0 ± 0.03."""
    monkeypatch.setattr(Rewards, "score", ascii_share)
    with serving(Training(ppo_models["policy"])) as address:
        config = GRPOConfig(
            name="better", policy="p", reward_model="reward_model", device="cpu", dtype="float32",
            trainer=address, steps=24, prompts_per_step=4, samples=16, max_new_tokens=6, learning_rate=3e-2,
            beta=0.0, kl="fixed", kl_bound=1e9, target_kl_update=0.0, epochs=2, missing_stop_penalty=0.0,
            checkpoint_every=0, trace_every=0, collapse="ignore",
        )  # fmt: skip
        events = list(job(config, run_of(tmp_path / "run", config, ppo_models)))
    assert rise([float(event.values["policy/score"] or 0) for event in only(events, Metrics)]) > 0.1


def test_what_a_server_lacks_is_told(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    with serving(Training(ppo_models["policy"], mute=True)) as address:
        config = RLOOConfig(**COMMON, trainer=address)
        with pytest.raises(EndpointError, match="gives fewer than 3 samples with log-probabilities"):
            list(job(config, run_of(tmp_path / "mute", config, ppo_models)))
        with pytest.raises(UsageError, match="does not train another; it has /"):
            tinker.TrainingServer.training(address, ["another"], 4, 0)
        server = tinker.TrainingServer.training(address, [str(ppo_models["policy"])], 4, 0)
        server.use_weights("taken")
        with pytest.raises(EndpointError, match="ValueError: Checkpoint 'taken' already exists"):
            server.use_weights("taken")
    with pytest.raises(EndpointError, match="No answer from"):
        server.use_weights("gone")
    server.http.close()


@pytest.mark.parametrize(
    "settings",
    [
        *({"tuning": "full"}, {"temperature": 0.7}, {"surrogate": "cispo"}, {"entropy_bonus": 0.1}),
        *({"kl_loss": "k3"}, {"ratio": "sequence"}, {"endpoint": "http://localhost:1/v1"}, {"devices": 2}),
    ],
)
def test_what_the_api_cannot_say_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="Tinker API"):
        GRPOConfig(**{**COMMON, "trainer": "http://localhost:1", **settings})
