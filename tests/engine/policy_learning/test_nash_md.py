"""Nash-MD: what a mixture samples, whom a policy meets, and that it is learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from engine.errors import UsageError
from engine.models.policy import load_policy
from engine.policy_learning import nash_md
from engine.policy_learning import prompts as policy_prompts
from engine.protocol.configs import NashMDConfig
from engine.protocol.events import Metrics
from engine.rollout import Mixture, sample
from engine.rollout.mixture import MixtureDecoder
from engine.rollout.sampler import _open_decoder
from engine.text import Tokeniser
from engine.training.policy import load_trainable_policy
from tests.engine.training.fixtures import ppo_models, talkative  # noqa: F401
from tests.engine.training.runs import make_run, only, prompts
from tests.fakes import tiny_model_folder

ASCII = "tests.benchmarks.methods:ascii_share"
CONFIG = NashMDConfig(
    name="better", policy="p", device="cpu", dtype="float32", steps=16, prompts_per_step=2, samples=12,
    max_new_tokens=6, learning_rate=1e-2, tuning="full", rewards=(ASCII,), checkpoint_every=0, trace_every=0,
    missing_stop_penalty=0.0, kl_bound=1e9, collapse="ignore",
)  # fmt: skip
OPTIONS: dict[str, Any] = {
    "samples": 3, "max_new_tokens": 8, "stop_ids": {2}, "seeds": [1, 2], "batch_sequences": 4,
}  # fmt: skip
PROMPTS = [[5, 6, 7], [8, 9, 10, 11]]


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_prompts, "REFERENCE_SAMPLES", 6)


def tokens(source: Any, tokeniser: Tokeniser) -> list[list[int]]:
    batches = sample(source, tokeniser, PROMPTS, **OPTIONS)
    return [one.token_ids for batch in batches for one in batch.responses]


def test_at_its_ends_a_mixture_is_the_policy_and_the_reference(tiny_model: Path, tmp_path: Path) -> None:
    other = tiny_model_folder(tmp_path, seed=1)
    policy, reference = (load_policy(folder, "float32") for folder in (tiny_model, other))
    tokeniser = Tokeniser.from_folder(tiny_model)
    ours, theirs = tokens(policy, tokeniser), tokens(reference, tokeniser)
    assert ours != theirs
    assert tokens(Mixture(policy, reference, 0.0), tokeniser) == ours
    assert tokens(Mixture(policy, reference, 1.0), tokeniser) == theirs
    assert tokens(Mixture(policy, reference, 0.5), tokeniser) not in (ours, theirs)


def test_adapters_are_off_in_the_reference_half_alone(tiny_model: Path) -> None:
    policy = load_trainable_policy(
        tiny_model, dtype="float32", device="cpu", lora_rank=2, seed=0, with_reference=False
    )
    base = tokens(load_policy(tiny_model, "float32"), policy.tokeniser)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(3))
    own = tokens(policy.model, policy.tokeniser)
    assert own != base
    assert tokens(Mixture(policy.model, None, 1.0), policy.tokeniser) == base
    assert tokens(Mixture(policy.model, None, 0.0), policy.tokeniser) == own


@torch.inference_mode()
def test_its_logits_are_the_weighted_means_step_by_step(tiny_model: Path, tmp_path: Path) -> None:
    policy = load_policy(tiny_model, "float32")
    reference = load_policy(tiny_model_folder(tmp_path, seed=1), "float32")
    mixture = Mixture(policy, reference, 0.25)
    decoder = _open_decoder(mixture, PROMPTS, 8, 3)([tuple(p) for p in PROMPTS], [0, 1, 1])
    assert isinstance(decoder, MixtureDecoder)
    rows = [list(PROMPTS[0]), list(PROMPTS[1]), list(PROMPTS[1])]
    for step in range(3):
        both = [[model(torch.tensor([row])).logits[0, -1] for row in rows] for model in (policy, reference)]
        wanted = torch.stack([0.75 * a + 0.25 * b for a, b in zip(*both, strict=True)])
        assert torch.allclose(decoder.logits, wanted, atol=1e-4)
        if step == 1:
            decoder.keep([0, 2])
            rows = [rows[0], rows[2]]
        chosen = torch.arange(len(rows)) + 20 + step
        decoder.step(chosen)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            row.append(token)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rewards": (), "compare": "preference", "preference": "tests.benchmarks.methods:more_ascii"},
        {"kl_loss": "token", "mixture_share": 1.0},
    ],
)
def test_it_raises_what_is_preferred(
    tmp_path: Path,
    ppo_models: dict[str, Path],  # noqa: F811
    changes: dict[str, Any],
) -> None:
    config = msgspec.structs.replace(CONFIG, **changes)
    run = make_run(tmp_path / "run", config, {"policy": ppo_models["policy"]}, {"prompts": prompts()})
    said = [event.values for event in only(nash_md.run(config, run), Metrics)]
    assert len(said) == 16
    wins = [float(values["policy/objective"] or 0) for values in said]
    assert all(0 <= win <= 1 for win in wins)
    if not changes.get("compare"):
        scores = [float(values["policy/score"] or 0) for values in said]
        assert sum(scores[-3:]) > sum(scores[:3]) + 0.3
    # What it is preferred to holds the reference, which it leaves behind.
    assert sum(wins[-3:]) / 3 > (0.5 if changes.get("mixture_share") == 1.0 else 0.45)


def test_against_itself_before_the_first_step_it_wins_one_half_in_the_mean(
    tmp_path: Path,
    ppo_models: dict[str, Path],  # noqa: F811
) -> None:
    config = msgspec.structs.replace(CONFIG, steps=1, samples=64)
    run = make_run(tmp_path / "run", config, {"policy": ppo_models["policy"]}, {"prompts": prompts()})
    (said,) = [event.values for event in only(nash_md.run(config, run), Metrics)]
    assert said["policy/objective"] == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"epochs": 2}, "learns from each response once"),
        ({"minibatches": 2}, "learns from each response once"),
        ({"endpoint": "http://localhost:1/v1", "tuning": "lora"}, "cannot sample from a mixture"),
        ({"compare": "preference"}, "leave out reward_model and rewards"),
        ({"rewards": (), "reward_model": "rm", "preference": "x:y"}, "set both"),
    ],
)
def test_what_it_cannot_do_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        NashMDConfig(**(msgspec.structs.asdict(CONFIG) | changes))
