"""Variants of policy learning as settings of the one loop: what each does in a run on the fake model."""

import sys
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from engine.policy_learning import grpo, ppo, rloo
from engine.policy_learning import prompts as policy_prompts
from engine.protocol.configs import GRPOConfig, PolicyLearningConfig, PPOConfig, RLOOConfig
from engine.protocol.events import Finished, Metrics
from tests.engine.training.runs import make_run, only, prompts

COMMON: dict[str, Any] = {
    "name": "better", "policy": "p", "rewards": ("variant_rewards:letters",), "device": "cpu",
    "dtype": "float32", "steps": 2, "prompts_per_step": 2, "samples": 3, "max_new_tokens": 6,
    "learning_rate": 5e-3, "checkpoint_every": 1, "trace_every": 1, "epochs": 2,
}  # fmt: skip
CONFIGS: dict[str, PolicyLearningConfig] = {
    "grpo": GRPOConfig(**COMMON),
    "rloo": RLOOConfig(**COMMON),
    "ppo": PPOConfig(**COMMON, critic="shared"),
}
RUNS: dict[str, Any] = {"grpo": grpo.run, "rloo": rloo.run, "ppo": ppo.run}
FUNCTIONS = """
def letters(prompt, response):
    return float(sum(c.isalpha() for c in response))

def alike_but_for_go(prompt, response):  # one prompt in six teaches something
    return float(len(response)) if prompt.strip() == "go!!" else 1.0
"""


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_prompts, "REFERENCE_SAMPLES", 6)
    (tmp_path / "variant_rewards.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "variant_rewards", raising=False)


class Job:
    def __init__(self, path: Path, models: dict[str, Path], kind: str, **changes: Any) -> None:
        self.config = msgspec.structs.replace(CONFIGS[kind], **changes)
        self.run = make_run(path, self.config, {"policy": models["policy"]}, {"prompts": prompts()})
        self.kind = kind

    def start(self) -> Any:
        return RUNS[self.kind](self.config, self.run)

    def metrics(self) -> list[dict[str, Any]]:
        events = list(self.start())
        assert isinstance(events[-1], Finished)
        return [event.values for event in only(events, Metrics)]

    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.run.path / "model" / "model.safetensors")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("grpo", {"clip_high": 0.28, "loss_average": "token", "resample": 1, "overlong_tokens": 3,
                  "beta": 0.0, "kl": "fixed"}),  # DAPO
        ("grpo", {"ratio": "sequence", "clip": 4e-4}),  # GSPO
        ("grpo", {"surrogate": "cispo", "loss_average": "token"}),
        ("grpo", {"scale_of": "batch", "kl_loss": "sequence"}),  # REINFORCE++
        ("grpo", {"scale_advantages": False, "baseline": "others", "loss_average": "budget"}),
        ("rloo", {"entropy_bonus": 0.01, "clip_high": 0.3}),
        ("ppo", {"entropy_bonus": 0.01, "surrogate": "cispo"}),
    ],
)  # fmt: skip
def test_variants_run_and_learn_something_else(
    tmp_path: Path, ppo_models: dict[str, Path], kind: str, changes: dict[str, Any]
) -> None:
    plain, variant = (
        Job(tmp_path / "plain", ppo_models, kind),
        Job(tmp_path / "one", ppo_models, kind, **changes),
    )
    base, own = plain.metrics(), variant.metrics()
    assert [len(base), len(own)] == [2, 2]
    assert own[0]["policy/score"] == base[0]["policy/score"] or "resample" in changes  # the same samples
    assert ("policy/entropy_loss" in own[0]) == ("entropy_bonus" in changes)
    one, other = plain.weights(), variant.weights()
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_prompts_whose_samples_are_alike_are_replaced_counted_and_not_learned_from(
    tmp_path: Path, ppo_models: dict[str, Path]
) -> None:
    changes: dict[str, Any] = {
        "rewards": ("variant_rewards:alike_but_for_go",), "prompts_per_step": 1, "steps": 3, "epochs": 1,
        "missing_stop_penalty": 0.0, "normalise_score": False,
    }  # fmt: skip
    counts = []
    for resample in (0, 5):
        job = Job(tmp_path / str(resample), ppo_models, "grpo", resample=resample, **changes)
        metrics = job.metrics()
        counts.append([(m["policy/prompts"], m["policy/prompts_alike"]) for m in metrics])
        for step, values in enumerate(metrics, start=1):
            rows = pq.read_table(job.run.output_path("rollouts", step)).to_pylist()
            assert len(rows) == 3 * values["policy/prompts"]  # what was sampled is written
            assert len({row["prompt_id"] for row in rows}) == values["policy/prompts"]
    assert all(sampled == 1 for sampled, _ in counts[0])
    assert any(alike == 1 for _, alike in counts[0])
    # found, or all six prompts were asked and even that one's samples were equally long
    assert all(sampled - alike == 1 or sampled == 6 for sampled, alike in counts[1])
    assert any(sampled - alike == 1 and alike for sampled, alike in counts[1])


def test_a_resumed_run_samples_the_same_prompts_again(tmp_path: Path, ppo_models: dict[str, Path]) -> None:
    changes: dict[str, Any] = {
        "rewards": ("variant_rewards:alike_but_for_go",), "prompts_per_step": 1, "steps": 2, "resample": 3,
        "missing_stop_penalty": 0.0, "normalise_score": False,
    }  # fmt: skip
    whole = Job(tmp_path / "whole", ppo_models, "grpo", **changes)
    whole.metrics()
    broken = Job(tmp_path / "broken", ppo_models, "grpo", **changes)
    broken.run.pause_path.touch()
    list(broken.start())
    broken.run.pause_path.unlink()
    broken.metrics()
    one, other = whole.weights(), broken.weights()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_long_responses_lose_what_is_said_and_held_out_ones_too(
    tmp_path: Path, ppo_models: dict[str, Path]
) -> None:
    changes: dict[str, Any] = {
        "normalise_score": False, "missing_stop_penalty": 0.0, "steps": 1, "heldout_prompts": "share",
        "holdout": 0.4, "evaluate_every": 1,
    }  # fmt: skip
    found = []
    for soft in (0, 4):
        job = Job(
            tmp_path / str(soft), ppo_models, "rloo", overlong_tokens=soft, overlong_penalty=2.0, **changes
        )
        job.metrics()
        found.append(pq.read_table(job.run.output_path("evaluations", 0)).to_pylist())
    for plain, shaped in zip(*found, strict=True):
        lost = 2.0 * min(1.0, max(0.0, (shaped["tokens"] - 2) / 4))
        assert plain["objective"] - shaped["objective"] == pytest.approx(lost, abs=1e-5)
    assert any(row["tokens"] > 2 for row in found[0])
