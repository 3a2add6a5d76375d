"""Steps in tensors that keep their shape compute what transformers computes, and could be recorded."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import partial
from weakref import ref

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from transformers import GPT2LMHeadModel, PreTrainedModel

from engine.models.lora import without_lora
from engine.models.parts import place
from engine.rollout.cuda_graph import CudaGraphDecoder, Recorder, recorder_of, why_not_cuda_graph
from tests.engine.rollout.decoding import (
    PLACES,
    PROMPTS,
    adapted,
    gemma,
    gpt2,
    llama,
    made,
    mistral,
    qwen2,
    qwen3,
)
from tests.engine.rollout.decoding import compare as beside_plain

BUILDS = [llama, qwen2, qwen3, mistral, adapted, gemma, gpt2]


def compare(
    model: PreTrainedModel, recorder: Recorder, keeps: dict[int, list[int]], seed: int = 0
) -> list[int]:
    """Slots of each step."""
    opened = partial(CudaGraphDecoder, recorder)
    return beside_plain(model, opened, keeps, seed=seed, after=lambda decoder: decoder._step.slots)


@pytest.mark.parametrize("build", BUILDS)
def test_logits_are_those_of_transformers(build: Callable[[], PreTrainedModel]) -> None:
    model = made(build)
    assert why_not_cuda_graph(model, 20) is None
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
        step = CudaGraphDecoder(Recorder(model, len(PLACES), 20), PROMPTS, PLACES)._step
        with pytest.raises(DataDependentOutputException):
            step._at.item()
        for _ in range(3):
            assert step.run().shape == (10, 97)


def test_a_step_done_twice_leaves_what_it_leaves_done_once() -> None:
    """Warming up and recording run it again at the same place."""
    model = made(qwen3)
    with torch.no_grad():
        step = CudaGraphDecoder(Recorder(model, len(PLACES), 20), PROMPTS, PLACES)._step
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


def test_a_device_that_does_not_record_is_told_and_computes_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> None:
        raise RuntimeError("no graphs here")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", refuse)
    model = made(llama)
    with torch.no_grad():
        step = CudaGraphDecoder(Recorder(model, len(PLACES), 20), PROMPTS, PLACES)._step
        with pytest.warns(UserWarning, match="not recorded as CUDA graphs, which is slower"):
            computed = step._recorded()
        assert torch.equal(computed(), step._compute())


def test_other_models_say_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not_cuda_graph(made(gemma), 32) is None
    assert "every position" in str(why_not_cuda_graph(made(gemma), 33))
    flash = made(llama)
    flash.config._attn_implementation = "flash_attention_2"
    assert "flash_attention_2" in str(why_not_cuda_graph(flash, 20))
    monkeypatch.setattr(GPT2LMHeadModel, "_can_compile_fullgraph", False)
    assert "GPT2LMHeadModel" in str(why_not_cuda_graph(made(gpt2), 20))


@pytest.mark.gpu
@pytest.mark.parametrize("build", BUILDS)
def test_recorded_steps_are_those_of_transformers(build: Callable[[], PreTrainedModel]) -> None:
    """A step that could not be recorded would warn, and warnings are errors."""
    model = place(made(build), "cuda")
    recorder = Recorder(model, len(PLACES), 20)
    compare(model, recorder, {2: [0, 2, 3], 5: [1]})
    compare(model, recorder, {4: [5, 6, 7, 8]}, seed=50)
