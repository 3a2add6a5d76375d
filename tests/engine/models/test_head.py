"""Logits after the head: scaled and capped in training as the model does, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from engine.errors import ModelFilesError, NonFiniteError
from engine.models import policy
from engine.models.head import OutputHead, head_of
from engine.models.lora import add_lora, without_lora
from engine.models.policy import load_policy, load_weights
from tests.engine.models.families import tiny_config


def made(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(tiny_config(family)).eval()
    return model


@pytest.mark.parametrize(
    ("family", "scale", "cap"),
    [("granite", 0.25, None), ("cohere", 0.25, None), ("falcon_h1", 0.5, None), ("gemma2", 1.0, 2.0)],
)
def test_log_probabilities_and_gradients_are_those_of_the_model(
    family: str, scale: float, cap: float | None
) -> None:
    model = made(family)
    head = head_of(model)
    assert (head.scale, head.cap) == (scale, cap)
    ids = torch.tensor([[5, 9, 33, 77, 12, 50, 60]])
    expected_T = torch.log_softmax(model(input_ids=ids).logits[0, :-1].double() / 0.7, -1)
    expected_T = expected_T.gather(1, ids[0, 1:, None])[:, 0]
    hidden_T_D = model.base_model(input_ids=ids)[0][0, :-1].detach().requires_grad_(True)
    found_T = head.logprobs(hidden_T_D, ids[0, 1:], temperature=0.7).logprobs
    torch.testing.assert_close(found_T.double(), expected_T, atol=1e-5, rtol=0)
    with torch.no_grad():
        measured = head.logprobs(hidden_T_D, ids[0, 1:], temperature=0.7)
    assert measured.entropy is not None
    torch.testing.assert_close(measured.logprobs.double(), expected_T, atol=1e-5, rtol=0)
    (slope,) = torch.autograd.grad(found_T.sum(), hidden_T_D)
    whole = torch.log_softmax(head(hidden_T_D) / 0.7, -1).gather(1, ids[0, 1:, None]).sum()
    torch.testing.assert_close(slope, torch.autograd.grad(whole, hidden_T_D)[0], atol=1e-5, rtol=1e-4)


def test_a_head_that_nobody_knows_is_refused() -> None:
    class Strange(LlamaForCausalLM):
        def forward(self, *args: object, **kwargs: object) -> object:
            output = super().forward(*args, **kwargs)
            output.logits = output.logits.square()
            return output

    model = Strange(LlamaConfig(**{k: v for k, v in tiny_config("llama").to_dict().items() if k != "dtype"}))
    with pytest.raises(ModelFilesError, match="makes its logits in a way"):
        head_of(model.eval())


def test_a_model_that_reads_both_ways_is_refused_by_its_numbers() -> None:
    config = BertConfig(
        vocab_size=272, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        is_decoder=False,
    )  # fmt: skip
    with pytest.raises(ModelFilesError, match="both directions"):
        head_of(BertLMHeadModel(config).eval())


@pytest.mark.parametrize(
    ("family", "words"), [("bert", "both directions"), ("modernbert-decoder", "not one linear|in a way")]
)
def test_what_cannot_be_trained_is_refused(tmp_path: Path, family: str, words: str) -> None:
    made(family).save_pretrained(tmp_path)
    with pytest.raises(ModelFilesError, match=words):
        load_policy(tmp_path, "float32")


def test_what_the_configuration_says_is_refused_before_a_weight_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made("bert").save_pretrained(tmp_path)
    monkeypatch.setattr(policy.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(ModelFilesError, match="is_decoder is false"):
        load_weights(policy.AutoModelForCausalLM, tmp_path, "float32")


def test_damaged_weights_are_told(tmp_path: Path) -> None:
    model = made("llama")
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="not finite"):
        head_of(model)


def test_a_scale_alone_is_a_temperature() -> None:
    linear = nn.Linear(8, 30, bias=False)
    hidden, tokens = torch.randn(5, 8), torch.arange(5)
    plain = OutputHead(linear).logprobs(hidden, tokens, temperature=0.5).logprobs
    torch.testing.assert_close(OutputHead(linear, scale=2.0).logprobs(hidden, tokens).logprobs, plain)


@pytest.mark.parametrize("family", ["deepseek_v3", "qwen2_moe", "gpt2", "qwen3_next"])
def test_adapters_can_be_switched_off_altogether(family: str) -> None:
    """Experts that a library adapts on the side would stay in the reference policy."""
    model, ids = made(family), torch.tensor([[5, 9, 33, 77]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        add_lora(model, 2)
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.normal_()
        assert not torch.allclose(model(input_ids=ids).logits, before, atol=1e-2)
        with without_lora(model):
            torch.testing.assert_close(model(input_ids=ids).logits, before, atol=1e-5, rtol=1e-4)
