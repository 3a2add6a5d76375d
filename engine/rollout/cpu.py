"""Decoding with Llama and its near relations (Qwen 2 and 3, Mistral), token by token, on a processor.

The same computation as transformers', from the same weights, without what costs time when a token is short
work: masks made anew in every call, keys and values repeated for each query head, several passes where one
would do, and weights in a layout that is slow to read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.models.lora import base_linear
from engine.rollout.linear import Packed, has_onednn
from engine.rollout.prefix_cache import PackedPrefill, PrefixCache

KINDS = ("llama", "qwen2", "qwen3", "mistral")

WEIGHTS_AT_MOST = 4 * 2**30
"""Bytes of weights that may be held a second time, in the faster layout."""

PROJECTIONS = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


def why_not_cpu_decoder(model: PreTrainedModel, positions: int) -> str | None:
    """None if `CpuModel` computes what the model does on `positions` positions, or half a sentence."""
    config: Any = model.config
    weight = next(model.parameters())
    if weight.device.type != "cpu":
        return f"the model is on {weight.device.type}, and the faster way is for processors"
    if not has_onednn(weight.dtype):
        return f"torch has no oneDNN layers in {str(weight.dtype).removeprefix('torch.')} on this processor"
    known = config.model_type in KINDS and type(model).__module__.startswith("transformers.models.")
    if not known or config.hidden_act != "silu":
        return f"{type(model).__name__} is not one of the architectures {', '.join(KINDS)}"
    window = getattr(config, "sliding_window", None)
    if window and positions > window:
        return f"its window of {window} positions is shorter than prompt and response"
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    if size > WEIGHTS_AT_MOST:
        return f"its {size / 2**30:.1f} GiB of weights would be held twice"
    try:
        trunk: Any = model.base_model
        for layer in trunk.layers:
            for name in PROJECTIONS:
                base_linear(layer.get_submodule(name))
    except (TypeError, AttributeError) as error:
        return f"one of its layers is not a plain linear layer ({error})"
    return None


@dataclass
class _Norm:
    """Root-mean-square norm over the last dimension (Zhang & Sennrich 2019)."""

    weight: Tensor
    eps: float

    @classmethod
    def of(cls, module: Any) -> _Norm:
        return cls(module.weight.detach(), module.variance_epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        return nn.functional.rms_norm(x, self.weight.shape, self.weight, self.eps)


class _Layer:
    """The weights of one layer."""

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.norm, self.mlp_norm = _Norm.of(layer.input_layernorm), _Norm.of(layer.post_attention_layernorm)
        self.qkv = Packed([attention.q_proj, attention.k_proj, attention.v_proj])
        self.out = Packed([attention.o_proj])
        self.gate, self.up, self.down = (Packed([m]) for m in (mlp.gate_proj, mlp.up_proj, mlp.down_proj))
        self.size, self.scale = attention.head_dim, attention.scaling
        self.query_norm = _Norm.of(attention.q_norm) if hasattr(attention, "q_norm") else None
        self.key_norm = _Norm.of(attention.k_norm) if hasattr(attention, "k_norm") else None


class CpuModel:
    """A model's weights as decoding reads them: a copy, true until the model is changed."""

    @torch.no_grad()
    def __init__(self, model: PreTrainedModel) -> None:
        trunk: Any = model.base_model
        lm: Any = model
        self.embedding = trunk.embed_tokens.weight.detach()
        self.layers = [_Layer(layer) for layer in trunk.layers]
        self.norm = _Norm.of(trunk.norm)
        self.head = Packed([lm.lm_head])
        self.rotary = trunk.rotary_emb
        self.group = model.config.num_attention_heads // model.config.num_key_value_heads

    def read(self, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, PackedPrefill]:
        """Logits after the last token of each prompt, [P, V], and keys and values of all tokens."""
        reading = PackedPrefill([len(prompt) for prompt in prompts], self.group)
        token_S = torch.tensor([token for prompt in prompts for token in prompt])
        x_S_D = nn.functional.embedding(token_S, self.embedding)
        x_S_D = self._through(x_S_D, reading.position_S, reading.attend)
        return self.head(self.norm(x_S_D[reading.last_P])), reading

    def logits(self, token_N: Tensor, position_N: Tensor, cache: PrefixCache) -> Tensor:
        """Logits after one more token of every row.  [N, V]"""
        x_N_D = nn.functional.embedding(token_N, self.embedding)
        cache.open()
        x_N_D = self._through(x_N_D, cache.spread(position_N), cache.attend, cache.spread)
        return self.head(self.norm(x_N_D))

    def _through(
        self,
        x_N_D: Tensor,
        position_M: Tensor,
        attend: Callable[[int, Tensor, float], Tensor],  # [M, heads, d] → [N, heads · d]
        spread: Callable[[Tensor], Tensor] = lambda x_N: x_N,  # [N, …] → [M, …], as attention wants rows
    ) -> Tensor:
        """All layers.  [N, D]"""
        cos, sin = self.rotary(x_N_D, position_M[:, None])  # [M, 1, d]
        half = sin.shape[-1] // 2
        signed = torch.cat([-sin[..., :half], sin[..., half:]], -1)
        for number, layer in enumerate(self.layers):
            qkv = spread(layer.qkv(layer.norm(x_N_D)))
            qkv = qkv.view(len(qkv), -1, layer.size)
            _rotate(qkv, layer, self.group, cos, signed)
            x_N_D = layer.out.plus(attend(number, qkv, layer.scale), x_N_D)
            y_N_D = layer.mlp_norm(x_N_D)
            x_N_D = layer.down.plus(layer.up.times(y_N_D, layer.gate.gated(y_N_D)), x_N_D)
        return x_N_D


def _rotate(qkv: Tensor, layer: _Layer, group: int, cos: Tensor, signed_sin: Tensor) -> None:
    """Turn queries and keys by their position, in place (rotary embedding, Su et al. 2021): [.., heads, d].

    With halves (a, b) and angles θ the result is (a cos θ − b sin θ, b cos θ + a sin θ); `signed_sin` holds
    (−sin θ, sin θ).
    """
    heads = qkv.shape[1] // (group + 2)
    turned = qkv[:, :-heads]
    if layer.query_norm is not None and layer.key_norm is not None:
        turned[:, : heads * group] = layer.query_norm(turned[:, : heads * group])
        turned[:, heads * group :] = layer.key_norm(turned[:, heads * group :])
    other = turned.roll(layer.size // 2, -1)
    torch.addcmul(turned.mul_(cos), other, signed_sin, out=turned)


class CpuDecoder:
    """A batch in the making: `logits` of the rows that go on, and one step after another."""

    def __init__(self, cpu_model: CpuModel, prompts: Sequence[Sequence[int]], place_N: Sequence[int]) -> None:
        """After the prompts; `place_N` says from which of them each row begins."""
        self._model = cpu_model
        logits, reading = cpu_model.read(prompts)
        self._cache = PrefixCache(reading.kept, reading.seen_P_T, place_N, cpu_model.group)
        places = torch.tensor(place_N)
        self.logits = logits[places]
        self._position_N = reading.seen_P_T.sum(-1)[places]

    def step(self, token_N: Tensor) -> None:
        """One more token of every row, [N]."""
        self.logits = self._model.logits(token_N, self._position_N, self._cache)
        self._position_N = self._position_N + 1

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows."""
        self._cache.keep(rows)
        self._position_N = self._position_N[rows]
