"""Decoding on a processor computes what transformers computes, and says when it cannot."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM, PreTrainedModel

from engine.models.lora import without_lora
from engine.models.parts import place
from engine.rollout.cpu import CpuDecoder, CpuModel, why_not_cpu_decoder
from engine.rollout.generic import GenericDecoder
from engine.rollout.linear import Packed, has_onednn
from engine.rollout.prefix_cache import EMPTY, lines_of
from tests.engine.rollout.decoding import PLACES, PROMPTS, SHAPE, adapted, llama, made, mistral, qwen2, qwen3
from tests.engine.rollout.decoding import compare as beside_plain

pytestmark = pytest.mark.skipif(not has_onednn(torch.float32), reason="this build of torch has no oneDNN")


def compare(model: PreTrainedModel, keeps: dict[int, list[int]]) -> None:
    beside_plain(model, partial(CpuDecoder, CpuModel(model)), keeps)


@pytest.mark.parametrize("build", [llama, qwen2, qwen3, mistral, adapted])
def test_logits_are_those_of_transformers(build: Callable[[], PreTrainedModel]) -> None:
    model = made(build)
    assert why_not_cpu_decoder(model, 20) is None
    compare(model, {})


@pytest.mark.parametrize(
    "keeps",
    [
        {2: [0, 1, 2, 3, 5, 6, 7, 9]},  # places stay empty
        {0: [4, 6, 9], 4: [1, 2], 6: [0]},  # lines and places are given up
        {3: [8], 5: [0]},
        {1: [0, 1, 2, 3, 4]},  # of one prompt
    ],
)
def test_rows_leave(keeps: dict[int, list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.rollout.prefix_cache.ROOM", 3)  # so that the cache has to grow
    monkeypatch.setattr("engine.rollout.prefix_cache.QUERIES", 8)
    compare(made(qwen2), keeps)


def test_adapters_that_are_off_are_not_read() -> None:
    model = made(adapted)
    with without_lora(model):
        compare(model, {})


def test_bfloat16_is_as_near_as_rounding_lets_it() -> None:
    if not has_onednn(torch.bfloat16):
        pytest.skip("this processor has no bfloat16 in oneDNN")
    model = made(adapted)
    torch.nn.Module.to(model, torch.bfloat16)
    with torch.no_grad():
        decoder = CpuDecoder(CpuModel(model), PROMPTS, PLACES)
        decoder.step(torch.arange(10))
        plain = GenericDecoder(model, PROMPTS, PLACES)
        plain.step(torch.arange(10))
    assert float((decoder.logits - plain.logits).abs().max()) < 0.05 * float(plain.logits.abs().max())


def test_one_layer_with_and_without_what_goes_with_it() -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(8, 5), torch.nn.Linear(8, 3, bias=False)]
    x, other = torch.randn(4, 8), torch.randn(4, 8)
    expected = torch.cat([layer(x) for layer in layers], -1)
    with torch.no_grad():
        packed = Packed(layers)
        torch.testing.assert_close(packed(x), expected)
        torch.testing.assert_close(packed.plus(x, other), expected + other)
        torch.testing.assert_close(packed.times(x, other), expected * other)
        torch.testing.assert_close(packed.gated(x), torch.nn.functional.silu(expected))


def test_frozen_weights_are_laid_out_once_and_again_when_they_change() -> None:
    first, second = nn.Linear(8, 4, bias=False), nn.Linear(8, 6, bias=False)
    for layer in (first, second):
        layer.weight.requires_grad_(False)
    x = torch.randn(3, 8)
    with torch.no_grad():
        one, two = Packed([first, second]), Packed([first, second])
        assert one._weight is two._weight
        second.weight.mul_(2)
        changed = Packed([first, second])
        assert changed._weight is not one._weight
        torch.testing.assert_close(changed(x), torch.cat([first(x), second(x)], 1))
        torch.testing.assert_close(Packed([first])(x), first(x))
        first.weight.data = torch.ones(4, 8)
        torch.testing.assert_close(Packed([first])(x), first(x))
    first.weight.requires_grad_(True)
    assert Packed([first])._weight is not Packed([first])._weight


def test_lines_hold_samples_of_one_prompt_evenly() -> None:
    assert lines_of([0] * 8, 5) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert lines_of([0, 1, 1, 1], 2) == [[0, EMPTY], [1, 2], [3, EMPTY]]
    assert lines_of([0, 1, 0], 4) == [[0, 2], [1, EMPTY]]


def test_other_models_say_why_not() -> None:
    gpt2 = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=9))
    assert "GPT2LMHeadModel is not one of" in str(why_not_cpu_decoder(gpt2, 20))
    windowed = MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=16))
    assert why_not_cpu_decoder(windowed, 16) is None
    assert "window of 16 positions" in str(why_not_cpu_decoder(windowed, 17))
    odd = made(qwen2)
    odd.model.layers[1].mlp.up_proj = torch.nn.Identity()
    assert "Identity" in str(why_not_cpu_decoder(odd, 20))
    assert "on meta" in str(why_not_cpu_decoder(place(made(qwen2), "meta"), 20))
    assert "float64" in str(why_not_cpu_decoder(made(qwen2).double(), 20))


def test_heavy_models_are_not_held_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.rollout.cpu.WEIGHTS_AT_MOST", 1000)
    assert "held twice" in str(why_not_cpu_decoder(made(qwen2), 20))
