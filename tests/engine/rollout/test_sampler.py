"""Sampling is the same as a naive loop that reads everything again for each token."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from engine.errors import NonFiniteError, UsageError
from engine.models.policy import load_policy
from engine.rollout import Sampled, response_text, sample
from engine.rollout.sampler import _Row, _uniforms
from engine.rollout.token_sampling import sample_tokens
from engine.text import Tokeniser

PROMPTS = [[5, 9, 30], [70, 8, 1, 6, 2, 99, 140], [11], [5, 9, 30]]
STOPS = {2, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50}


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> PreTrainedModel:
    return load_policy(tiny_model, "float32")


@pytest.fixture(scope="module")
def tokeniser(tiny_model: Path) -> Tokeniser:
    return Tokeniser.from_folder(tiny_model)


@pytest.fixture(params=["cpu", "cuda_graph", "generic"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way of decoding, whatever this machine would choose."""
    if request.param == "cpu":
        return
    monkeypatch.setattr("engine.rollout.sampler.why_not_cpu_decoder", lambda *_: "not now")
    if request.param == "cuda_graph":
        monkeypatch.setattr("engine.rollout.sampler.RECORDING_DEVICES", ("cuda", "cpu"))


def run(model: PreTrainedModel, tokeniser: Tokeniser, **options: object) -> list[Sampled]:
    settings: dict[str, object] = {
        "samples": 3,
        "max_new_tokens": 12,
        "stop_ids": STOPS,
        "seeds": [10, 20, 30, 40],
        "batch_sequences": 5,
    }
    batches = sample(model, tokeniser, PROMPTS, **(settings | options))
    return [response for batch in batches for response in batch.responses]


@torch.no_grad()
def naive(
    model: PreTrainedModel, prompt: list[int], seed: int, number: int, temperature: float, top_p: float
) -> list[int]:
    uniform = _uniforms(seed, _Row(0, number), 12)
    ids: list[int] = []
    while len(ids) < 12:
        logits = model(input_ids=torch.tensor([prompt + ids])).logits[:, -1]
        token, _ = sample_tokens(logits, uniform[len(ids)].view(1), temperature, top_p)
        ids.append(int(token))
        if ids[-1] in STOPS:
            break
    return ids


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (0.0, 1.0), (1.3, 0.8)])
def test_tokens_are_those_of_the_naive_loop(
    model: PreTrainedModel, tokeniser: Tokeniser, temperature: float, top_p: float
) -> None:
    found = run(model, tokeniser, temperature=temperature, top_p=top_p)
    assert [(r.prompt_index, r.sample_index) for r in found] == [(p, s) for p in range(4) for s in range(3)]
    for response in found:
        expected = naive(
            model,
            PROMPTS[response.prompt_index],
            [10, 20, 30, 40][response.prompt_index],
            response.sample_index,
            temperature,
            top_p,
        )
        assert response.token_ids == expected
        assert response.stopped == (expected[-1] in STOPS)
    if temperature:
        assert len({len(r.token_ids) for r in found}) > 2  # so rows did leave the batch at different steps


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_log_probabilities_are_those_of_a_full_forward(
    model: PreTrainedModel, tokeniser: Tokeniser, temperature: float
) -> None:
    for response in run(model, tokeniser, temperature=temperature):
        prompt = PROMPTS[response.prompt_index]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + response.token_ids])).logits[0]
        full = torch.log_softmax(logits.float() / temperature, -1)[len(prompt) - 1 : -1]
        expected = full.gather(1, torch.tensor(response.token_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(response.logprobs), expected, atol=1e-4, rtol=0)


def test_a_response_does_not_depend_on_its_batch(model: PreTrainedModel, tokeniser: Tokeniser) -> None:
    whole = run(model, tokeniser, batch_sequences=64)
    for size in (1, 2, 7):
        assert [r.token_ids for r in run(model, tokeniser, batch_sequences=size)] == [
            r.token_ids for r in whole
        ]
    more = run(model, tokeniser, samples=4)
    assert [r.token_ids for r in more if r.sample_index < 3] == [r.token_ids for r in whole]


def test_a_generator_decides_everything(model: PreTrainedModel, tokeniser: Tokeniser) -> None:
    def drawn(seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return [r.token_ids for r in run(model, tokeniser, seeds=None, generator=generator)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_the_same_prompt_twice_is_sampled_with_its_own_numbers(
    model: PreTrainedModel, tokeniser: Tokeniser
) -> None:
    found = run(model, tokeniser, batch_sequences=64)
    assert [r.token_ids for r in found[:3]] != [r.token_ids for r in found[9:]]


def test_stop_strings_end_a_response_and_are_cut(model: PreTrainedModel, tokeniser: Tokeniser) -> None:
    free = run(model, tokeniser, stop_ids={2}, max_new_tokens=30)
    text = response_text(tokeniser, free[0])
    stop = text[4:6]
    found = run(model, tokeniser, stop_ids={2}, max_new_tokens=30, stop_strings=(stop,))[0]
    assert found.stopped
    assert len(found.token_ids) < len(free[0].token_ids)
    assert response_text(tokeniser, found, (stop,)) == text[: text.index(stop)]


def test_the_stop_token_is_kept_and_has_no_text(model: PreTrainedModel, tokeniser: Tokeniser) -> None:
    sampled = Sampled(0, 0, [*tokeniser.encode_response("ab"), tokeniser.eos_id], [0.0] * 3, True)
    assert response_text(tokeniser, sampled) == "ab"


def test_prompts_that_do_not_fit(model: PreTrainedModel, tokeniser: Tokeniser) -> None:
    with pytest.raises(UsageError, match="512 positions"):
        next(sample(model, tokeniser, [[5] * 510], samples=1, max_new_tokens=8, stop_ids={2}))
    with pytest.raises(UsageError, match="no tokens"):
        next(sample(model, tokeniser, [[]], samples=1, max_new_tokens=8, stop_ids={2}))


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_damaged_weights_are_told(tiny_model: Path, tokeniser: Tokeniser, top_p: float) -> None:
    broken = load_policy(tiny_model, "float32").train()
    with torch.no_grad():
        broken.get_parameter("model.norm.weight").fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="not finite"):
        run(broken, tokeniser, top_p=top_p)
    assert broken.training  # its mode came back
