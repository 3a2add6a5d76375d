"""Steps in tensors that keep their shape compute what transformers computes, and could be recorded."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from engine.models.lora import without_lora
from engine.models.parts import place
from engine.rollout.plain import PlainDecoder, read_prompts
from engine.rollout.static import Recorder, StaticDecoder, recorder_of, why_not_static
from tests.engine.rollout.test_lean import PLACES, PROMPTS, SHAPE, adapted, llama, made, mistral, qwen2, qwen3


def gemma() -> PreTrainedModel:
    """Layers in two kinds, soft caps, norms before and after."""
    return Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8, sliding_window=32))


def gpt2() -> PreTrainedModel:
    """Learned positions, no rotation."""
    return GPT2LMHeadModel(
        GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=97, bos_token_id=1, eos_token_id=2)
    )


BUILDS = [llama, qwen2, qwen3, mistral, adapted, gemma, gpt2]


@torch.no_grad()
def compare(
    model: PreTrainedModel, recorder: Recorder, keeps: dict[int, list[int]], seed: int = 0
) -> list[int]:
    """Decode both ways with the same tokens; after some steps only some rows go on.  Slots of each step."""

    def read() -> Any:
        return read_prompts(model, PROMPTS, 0, model.device)

    static, plain, slots = StaticDecoder(recorder, read(), PLACES), PlainDecoder(model, read(), PLACES), []
    for step in range(9):
        generator = torch.Generator().manual_seed(seed + step)
        token_N = torch.randint(97, (len(plain.logits),), generator=generator).to(model.device)
        if step in keeps:
            static.keep(keeps[step])
            plain.keep(keeps[step])
            token_N = token_N[keeps[step]]
        static.step(token_N)
        plain.step(token_N)
        torch.testing.assert_close(static.logits, plain.logits, atol=1e-4, rtol=1e-4)
        slots.append(static._step.slots)
    return slots


@pytest.mark.parametrize("build", BUILDS)
def test_logits_are_those_of_transformers(build: Callable[[], PreTrainedModel]) -> None:
    model = made(build)
    assert why_not_static(model, 20) is None
    assert compare(model, Recorder(model, len(PLACES), 20), {}) == [10] * 9


def test_rows_leave_by_halves_and_the_next_batch_finds_its_steps_again() -> None:
    model = made(llama)
    recorder = Recorder(model, 12, 20)
    assert (
        compare(model, recorder, {1: [0, 2, 3, 5, 6, 7, 9], 3: [1, 4, 6], 6: [2]})
        == [12] * 3 + [3] * 3 + [1] * 3
    )
    steps = dict(recorder._steps)
    assert compare(model, recorder, {0: [9, 3, 4]}, seed=50) == [3] * 9
    assert recorder._steps == steps


def test_a_step_asks_nothing_of_the_device() -> None:
    """What reads a number back, or has a shape that depends on one, cannot be recorded: fakes refuse both."""
    with FakeTensorMode(), torch.no_grad():
        model = made(llama)
        read = read_prompts(model, PROMPTS, 0, torch.device("cpu"))
        step = StaticDecoder(Recorder(model, len(PLACES), 20), read, PLACES)._step
        with pytest.raises(DataDependentOutputException):
            step._at.item()
        for _ in range(3):
            assert step.run().shape == (10, 97)


def test_a_step_done_twice_leaves_what_it_leaves_done_once() -> None:
    """Warming up and recording run it again at the same place."""
    model = made(qwen3)
    with torch.no_grad():
        read = read_prompts(model, PROMPTS, 0, torch.device("cpu"))
        step = StaticDecoder(Recorder(model, len(PLACES), 20), read, PLACES)._step
        step.token.fill_(7)
        once = step._compute().clone()
        assert torch.equal(step._compute(), once)
        assert torch.equal(step.run(), once)


def test_what_was_recorded_is_used_again_while_it_holds() -> None:
    model = made(adapted)
    first = recorder_of(model, 8, 100)
    assert recorder_of(model, 8, 128) is first
    assert recorder_of(model, 3, 5) is first
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    assert recorder_of(model, 8, 100) is first
    with without_lora(model):
        assert recorder_of(model, 8, 100) is not first
    second = recorder_of(model, 8, 100)
    assert recorder_of(model, 9, 100) is not second
    third = recorder_of(model, 9, 129)
    weight = next(model.parameters())
    weight.data = weight.data.clone()
    assert recorder_of(model, 9, 129) is not third


def test_a_recorder_does_not_keep_its_model() -> None:
    model = made(llama)
    recorder = recorder_of(model, len(PLACES), 20)
    compare(model, recorder, {})
    gone = ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="here steps can be recorded")
def test_a_device_that_does_not_record_is_told_and_computes_all_the_same() -> None:
    model = made(llama)
    with torch.no_grad():
        read = read_prompts(model, PROMPTS, 0, torch.device("cpu"))
        step = StaticDecoder(Recorder(model, len(PLACES), 20), read, PLACES)._step
        with pytest.warns(UserWarning, match="not recorded as CUDA graphs, which is slower"):
            computed = step._recorded()
        assert torch.equal(computed(), step._compute())


def test_other_models_say_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not_static(made(gemma), 32) is None
    assert "every position" in str(why_not_static(made(gemma), 33))
    flash = made(llama)
    flash.config._attn_implementation = "flash_attention_2"
    assert "flash_attention_2" in str(why_not_static(flash, 20))
    monkeypatch.setattr(GPT2LMHeadModel, "_can_compile_fullgraph", False)
    assert "GPT2LMHeadModel" in str(why_not_static(made(gpt2), 20))


@pytest.mark.gpu
@pytest.mark.parametrize("build", BUILDS)
def test_recorded_steps_are_those_of_transformers(build: Callable[[], PreTrainedModel]) -> None:
    """A step that could not be recorded would warn, and warnings are errors."""
    model = place(made(build), "cuda")
    recorder = Recorder(model, len(PLACES), 20)
    compare(model, recorder, {2: [0, 2, 3], 5: [1]})
    compare(model, recorder, {4: [5, 6, 7, 8]}, seed=50)
