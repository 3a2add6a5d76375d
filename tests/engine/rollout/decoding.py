"""Small models of several architectures, and decoding in two ways beside each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from engine.models.lora import add_lora
from engine.rollout.generic import GenericDecoder

SHAPE: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
PROMPTS = [[5, 9, 30], [70, 8, 1, 6, 2, 9], [11]]
PLACES = [0, 0, 0, 0, 0, 1, 1, 2, 2, 2]


def llama() -> PreTrainedModel:
    """Biases everywhere, stretched positions, as many heads of keys as of queries."""
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}
    shape = SHAPE | {"num_key_value_heads": SHAPE["num_attention_heads"]}
    return LlamaForCausalLM(LlamaConfig(**shape, attention_bias=True, mlp_bias=True, rope_parameters=scaled))


def qwen2() -> PreTrainedModel:
    return Qwen2ForCausalLM(Qwen2Config(**SHAPE, tie_word_embeddings=True))


def qwen3() -> PreTrainedModel:
    return Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=16))


def mistral() -> PreTrainedModel:
    return MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=None))


def gemma() -> PreTrainedModel:
    """Layers in two kinds, soft caps, norms before and after."""
    return Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8, sliding_window=32))


def gpt2() -> PreTrainedModel:
    """Learned positions, no rotation."""
    return GPT2LMHeadModel(
        GPT2Config(n_layer=2, n_head=2, n_embd=16, vocab_size=97, bos_token_id=1, eos_token_id=2)
    )


def adapted() -> PreTrainedModel:
    model = add_lora(qwen2(), rank=3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@torch.no_grad()
def made(build: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    """A random model whose biases and norms are random too."""
    torch.manual_seed(0)
    model = build().eval()
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


class Decoder(Protocol):
    logits: Tensor

    def step(self, token_N: Tensor) -> None: ...

    def keep(self, rows: list[int]) -> None: ...


@torch.no_grad()
def compare(
    model: PreTrainedModel,
    opened: Callable[[list[list[int]], list[int]], Decoder],
    keeps: dict[int, list[int]],
    *,
    seed: int = 0,
    after: Callable[[Any], object] = lambda decoder: None,
) -> list[Any]:
    """Decode with the same tokens as transformers; after some steps only some rows go on.

    Returns what `after` says of the decoder after each step.
    """
    decoder, plain, said = opened(PROMPTS, PLACES), GenericDecoder(model, PROMPTS, PLACES), []
    torch.testing.assert_close(decoder.logits, plain.logits, atol=1e-4, rtol=1e-4)
    for step in range(9):
        generator = torch.Generator().manual_seed(seed + step)
        token_N = torch.randint(97, (len(plain.logits),), generator=generator).to(model.device)
        if step in keeps:
            decoder.keep(keeps[step])
            plain.keep(keeps[step])
            token_N = token_N[keeps[step]]
        decoder.step(token_N)
        plain.step(token_N)
        torch.testing.assert_close(decoder.logits, plain.logits, atol=1e-4, rtol=1e-4)
        said.append(after(decoder))
    return said
