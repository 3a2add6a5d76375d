"""Policy learning whose responses come from a server: a real process that loads the adapters by peft."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from engine.errors import EndpointError, UsageError
from engine.models.adapter_files import save_adapters
from engine.models.lora import add_lora
from engine.models.policy import load_policy
from engine.policy_learning import grpo, ppo
from engine.policy_learning.importance import importance
from engine.protocol.configs import GRPOConfig, PPOConfig
from engine.protocol.events import Finished, Metrics
from engine.rollout import Server
from tests.engine.serving import Replica
from tests.engine.training.runs import make_run, only, prompts

ROOT = Path(__file__).parents[3]
COMMON: dict[str, Any] = {
    "name": "better", "policy": "p", "reward_model": "r", "device": "cpu", "dtype": "float32", "steps": 3,
    "prompts_per_step": 2, "samples": 2, "max_new_tokens": 6, "learning_rate": 5e-2, "trace_every": 0,
    "temperature": 0.8, "checkpoint_every": 1, "epochs": 2,
}  # fmt: skip
CONFIG = PPOConfig(**COMMON)


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Start a server; its address."""
    running: list[subprocess.Popen[str]] = []

    def start(folder: Path, *options: str) -> str:
        command = [sys.executable, "-m", "tests.engine.vllm_like", str(folder), *options]
        running.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        assert running[-1].stdout is not None
        return running[-1].stdout.readline().strip()

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_a_run_samples_from_the_server_and_goes_on_there(
    tmp_path: Path, ppo_models: dict[str, Path], serve: Callable[..., str]
) -> None:
    endpoint = serve(ppo_models["policy"])
    config = msgspec.structs.replace(CONFIG, endpoint=endpoint)
    run = make_run(tmp_path / "run", config, ppo_models, {"prompts": prompts()})
    job = ppo.run(config, run)
    for event in job:  # killed after its first checkpoint
        if isinstance(event, Metrics) and event.step == 2:
            break
    job.close()  # type: ignore[attr-defined]
    events = list(ppo.run(config, run))
    assert isinstance(events[-1], Finished)
    told = {event.step: event.values for event in only(events, Metrics)}
    assert list(told) == [2, 3]
    for values in told.values():
        assert values["policy/sampler_ratio"] == pytest.approx(1.0, abs=1e-3)
        assert values["policy/sampler_capped"] == 0.0
        assert values["policy/ratio_max_deviation"] < 1e-3
    with urllib.request.urlopen(endpoint.removesuffix("/v1") + "/seen") as answer:
        seen = json.loads(answer.read())
    assert len(seen) == len(set(seen)) == 4  # before each step, and of the second again
    with urllib.request.urlopen(f"{endpoint}/models") as answer:
        left = [model["id"] for model in json.loads(answer.read())["data"]]
    assert left[0] == str(ppo_models["policy"])
    assert len(left) <= 2  # what the killed process had loaded; its own the finished run took away
    assert len(list((run.path / "adapters").iterdir())) <= 2


def test_the_result_is_that_of_sampling_here(
    tmp_path: Path, ppo_models: dict[str, Path], serve: Callable[..., str]
) -> None:
    settings = GRPOConfig(**{**COMMON, "steps": 2, "temperature": 1.0, "learning_rate": 1e-3})
    weights = []
    for endpoint in ("", serve(ppo_models["policy"])):
        config = msgspec.structs.replace(settings, endpoint=endpoint)
        run = make_run(tmp_path / f"run{bool(endpoint)}", config, ppo_models, {"prompts": prompts()})
        assert isinstance(list(grpo.run(config, run))[-1], Finished)
        weights.append(load_file(run.path / "model" / "model.safetensors"))
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], atol=1e-4, rtol=0)


@pytest.mark.slow
def test_two_servers_sample_ahead_within_the_bound(
    tmp_path: Path, ppo_models: dict[str, Path], serve: Callable[..., str]
) -> None:
    """Two replicas get every version; responses are as old as `staleness` lets them be, and no older."""
    endpoints = [serve(ppo_models["policy"]), serve(ppo_models["policy"])]
    config = msgspec.structs.replace(
        CONFIG, endpoint=", ".join(endpoints), staleness=2, steps=5, learning_rate=1e-2
    )
    run = make_run(tmp_path / "run", config, ppo_models, {"prompts": prompts()})
    events = list(ppo.run(config, run))
    assert isinstance(events[-1], Finished)
    told = [event.values for event in only(events, Metrics)]
    assert [values["policy/staleness"] for values in told] == [0, 1, 2, 2, 2]
    assert told[0]["policy/sampler_ratio"] == pytest.approx(1.0, abs=1e-3)
    assert any(abs(float(values["policy/sampler_ratio"] or 0) - 1) > 1e-3 for values in told[1:])
    for endpoint in endpoints:
        with urllib.request.urlopen(endpoint.removesuffix("/v1") + "/seen") as answer:
            assert len(json.loads(answer.read())) == 5
        with urllib.request.urlopen(f"{endpoint}/models") as answer:
            assert len(json.loads(answer.read())["data"]) == 1  # the run has taken its versions away


@pytest.mark.slow
def test_a_server_that_keeps_old_adapters_is_found_out(
    tmp_path: Path, ppo_models: dict[str, Path], serve: Callable[..., str]
) -> None:
    config = msgspec.structs.replace(CONFIG, endpoint=serve(ppo_models["policy"], "--stale"))
    run = make_run(tmp_path / "run", config, ppo_models, {"prompts": prompts()})
    with pytest.raises(EndpointError, match=r"other weights than were given|adapters of an earlier step"):
        list(ppo.run(config, run))


@pytest.mark.slow
def test_a_server_without_adapters_is_told_how_to_be_started(
    ppo_models: dict[str, Path], serve: Callable[..., str], tmp_path: Path
) -> None:
    server = Server.connect(serve(ppo_models["policy"]), [str(ppo_models["policy"])])
    with pytest.raises(EndpointError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        server.load_adapter("a", tmp_path / "nowhere")


def test_the_policy_that_answers_is_the_one_that_was_asked(tiny_model: Path) -> None:
    server = Server("http://x/v1", "mine-v2", None)
    with pytest.raises(EndpointError, match="was asked for mine-v2 and answered as mine-v1"):
        server._check_name("mine-v1")


def test_replicas_have_new_adapters_all_or_none(tmp_path: Path) -> None:
    good, bad = Replica(), Replica(500)
    try:
        server = Server(good.endpoint, "mine", None, others=(bad.endpoint,))
        with pytest.raises(EndpointError, match=f"{bad.endpoint} answered 500: no room"):
            server.load_adapter("v2", tmp_path)
        assert good.told == [("load_lora_adapter", "v2"), ("unload_lora_adapter", "v2")]
        assert bad.told == [("load_lora_adapter", "v2")]
        with pytest.raises(EndpointError, match="answered 500"):
            replace(server, endpoint=bad.endpoint, others=(good.endpoint,)).unload_adapter("v1")
        assert good.told[-1] == ("unload_lora_adapter", "v1")
    finally:
        good.close()
        bad.close()


def test_every_weight_cannot_be_served() -> None:
    with pytest.raises(UsageError, match="A server is given adapters"):
        PPOConfig(**{**COMMON, "tuning": "full", "endpoint": "http://localhost:1/v1"})


def test_adapters_are_written_as_peft_reads_them(tmp_path: Path, tiny_model: Path) -> None:
    model = add_lora(load_policy(tiny_model, "float32", "cpu"), rank=3, seed=1, alpha=7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    save_adapters(model, tmp_path / "adapters", "base")
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
        theirs = PeftModel.from_pretrained(plain, str(tmp_path / "adapters")).eval()
    tokens = torch.arange(3, 20)[None]
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, model(tokens).logits, atol=1e-4, rtol=1e-4)


@given(st.lists(st.floats(-8, 0), min_size=1, max_size=6), st.lists(st.floats(-8, 0), min_size=6, max_size=6))
def test_importance_is_the_truncated_ratio(trainer: list[float], server: list[float]) -> None:
    ours = torch.tensor([trainer])
    theirs = torch.tensor([server[: len(trainer)]])
    mask = torch.ones_like(ours, dtype=torch.bool)
    mask[0, -1] = False
    found = importance(ours, theirs, mask, 2.0)
    assert (found <= 2.0).all()
    assert found[0, -1] == 1.0
    expected = (ours - theirs).exp()[mask]
    torch.testing.assert_close(found[mask], expected.clamp(max=2.0))
