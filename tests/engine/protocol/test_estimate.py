"""Estimates of memory and time, from sizes alone."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from engine.models.device import resolve_dtype
from engine.protocol.configs import DPOConfig, GenerateConfig, GRPOConfig, JobConfig, PPOConfig, RewardConfig
from engine.protocol.estimate import estimate, sizes_of
from engine.protocol.memory import PROCESS_BYTES, memory_of, parts_of
from tests.benchmarks import memory

SMOLLM2: dict[str, Any] = {
    "hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip
SIZES = sizes_of(SMOLLM2)
assert SIZES is not None
PPO = PPOConfig(name="x", reward_model="r", dtype="bfloat16")


def changed(config: JobConfig, **values: Any) -> JobConfig:
    return msgspec.structs.replace(config, **values)


def test_parameters_are_counted_exactly() -> None:
    assert SIZES is not None
    assert SIZES.parameters == 134_515_008  # what transformers counts in SmolLM2-135M
    assert SIZES.adapters(16) == 4_884_480  # what peft makes


def test_memory_grows_with_what_it_is_made_of() -> None:
    assert SIZES is not None

    def of(**values: Any) -> int:
        assert SIZES is not None
        return memory_of(changed(PPO, **values), SIZES)

    base = of()
    assert PROCESS_BYTES < base < 8 << 30
    assert of(critic="shared") < base
    assert of(tuning="full") > base + 4 * SIZES.parameters * 4
    assert of(gold="g") - base == 2 * SIZES.parameters
    assert of(gold="r") == base  # one model in two roles is loaded once
    assert of(microbatch=32) > base
    assert of(dtype="float32") > base + 2 * 2 * SIZES.parameters


def test_parts_shrink_by_what_is_chosen() -> None:
    assert SIZES is not None
    kept = parts_of(PPO, SIZES)
    again, away = (parts_of(changed(PPO, activations=way), SIZES) for way in ("recompute", "offload"))
    assert away["activations"] < again["activations"] < kept["activations"] / 4
    small = parts_of(changed(PPO, base="4-bit"), SIZES)
    matrices = SIZES.layers * (SIZES.layer_parameters - 2 * SIZES.hidden)
    put_back = 2 * SIZES.hidden * SIZES.middle
    assert kept["weights"] - small["weights"] == int(matrices * (2 - 4.13 / 8)) - put_back
    for one in (again, away, small):  # and nothing else does
        assert sum(one[name] != size for name, size in kept.items()) == 1


@pytest.mark.parametrize(
    "config",
    [
        PPO,
        GRPOConfig(name="x", reward_model="r"),
        DPOConfig(name="x"),
        GenerateConfig(policy="p"),
        RewardConfig(name="r"),
    ],
)
def test_every_job_has_an_estimate(config: JobConfig) -> None:
    found = estimate(config, SMOLLM2, prompts=100)
    assert found.memory_bytes is not None
    assert found.sentence.startswith("About ")


def test_time_follows_the_rate_of_earlier_runs() -> None:
    slow, fast = (estimate(PPO, SMOLLM2, rate=rate) for rate in (1e10, 1e11))
    assert slow.seconds is not None
    assert fast.seconds is not None
    assert slow.seconds == pytest.approx(10 * fast.seconds)
    assert "as fast as the last such run" in fast.sentence
    assert estimate(DPOConfig(name="x"), SMOLLM2).seconds is None  # how many prompts is not known


def test_evaluations_on_held_out_prompts_take_their_time() -> None:
    held = changed(PPO, heldout_prompts="share", steps=40, evaluate_every=20, evaluate_prompts=8)
    assert isinstance(held, PPOConfig)
    assert held.evaluations() == [0, 20, 40]
    none, few, often = (
        estimate(config, SMOLLM2, rate=1e10).seconds
        for config in (changed(held, heldout_prompts="none"), held, changed(held, evaluate_every=1))
    )
    assert none is not None
    assert few is not None
    assert often is not None
    assert none < few
    assert often - none == pytest.approx((few - none) * 41 / 3)


def test_a_model_that_is_not_here_yet_has_none() -> None:
    for unknown in (
        {},
        {"hidden_size": "x", "num_attention_heads": 2},
        {"hidden_size": 8, "num_attention_heads": 0},
    ):
        found = estimate(PPO, unknown)
        assert (found.memory_bytes, found.seconds) == (None, None)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads peaks from /proc, Linux only")
@pytest.mark.parametrize(
    "size",
    [
        pytest.param("small", marks=pytest.mark.slow),
        pytest.param("middle", marks=pytest.mark.slow),
        pytest.param("large", marks=[pytest.mark.slow, pytest.mark.long]),
    ],
)
def test_the_estimate_is_within_a_fifth_of_the_measured_peak(size: str, tmp_path: Path) -> None:
    """A PPO job with adapters from loading to saving, in a process of its own, on a random model."""
    memory.make_models(tmp_path, memory.SIZES[size])
    dtype = resolve_dtype("auto", torch.device("cpu"))  # the other is emulated, and takes many minutes
    peak = max(memory.measured("ppo lora", tmp_path, dtype).values())
    assert memory.estimated("ppo lora", memory.SIZES[size], dtype) == pytest.approx(peak, rel=0.2)


def test_saving_and_decoding_are_counted() -> None:
    assert SIZES is not None
    sizes = sizes_of({**SMOLLM2, "vocab_size": 400_000})
    assert sizes is not None
    few = changed(PPO, microbatch=1, max_new_tokens=8, max_prompt_tokens=8, device="cuda", dtype="bfloat16")
    assert memory_of(few, sizes) - PROCESS_BYTES > 4 * 400_000 * 576  # the largest matrix in float32
    asked = [
        memory_of(
            GenerateConfig(policy="p", max_new_tokens=tokens, batch_sequences=64, dtype="bfloat16"), SIZES
        )
        for tokens in (1000, 2000)
    ]
    assert asked[1] - asked[0] == 2 * 64 * 1000 * 2 * SIZES.layers * SIZES.key_value * 2
    frozen, trained = (
        memory_of(RewardConfig(name="r", tuning=tuning, dtype="bfloat16"), SIZES)  # type: ignore[arg-type]
        for tuning in ("frozen", "auto")
    )
    assert trained > frozen + 18 * SIZES.parameters
