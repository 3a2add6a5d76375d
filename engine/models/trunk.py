"""A model without its head, ready for packed rows, and what training loops share about models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.models.lora import add_lora
from engine.models.packing import (
    PackedBatch,
    ResponseStates,
    Row,
    Where,
    can_lie_flat,
    embedding_dtype,
    hidden_states,
    pack,
    response_states,
    why_not_packable,
)
from engine.models.parts import backbone, input_embeddings, probe_tokens
from engine.models.sharding import still


@dataclass
class Trunk:
    """A transformer without its head, and how to run packed rows through it."""

    module: nn.Module
    pad_id: int
    device: torch.device
    why_not_packed: str | None  # half a sentence; None when prompts share their forward pass
    flat: bool = False  # rows lie end to end, without padding

    @classmethod
    def of(cls, model: PreTrainedModel, pad_id: int, device: torch.device) -> Trunk:
        """The model without its head, and whether its rows may be packed and lie flat on this device."""
        module = backbone(model)
        why_not = why_not_packable(module)
        flat = device.type == "cpu" and why_not is None and can_lie_flat(module)
        return cls(module, pad_id, device, why_not, flat)

    def pack(self, rows: Sequence[Row]) -> PackedBatch:
        """The rows as a batch in the layout that suits model and device."""
        return pack(
            rows,
            pad_id=self.pad_id,
            dtype=embedding_dtype(self.module),
            device=self.device,
            packed=self.why_not_packed is None,
            flat=self.flat,
        )

    def tokens(self, rows: Sequence[Row]) -> int:
        """Tokens that a forward pass over the rows computes, padding included."""
        if self.flat:
            return sum(row.length for row in rows)
        plain = [len(row.prompt) + len(response) for row in rows for response in row.responses]
        lengths = plain if self.why_not_packed else [row.length for row in rows]
        return len(lengths) * max(lengths)

    def hidden(self, batch: PackedBatch) -> Tensor:
        """Last hidden state of every token of the batch, [R, S, D]."""
        with _quick_attention(self.module, self.device, batch):
            return hidden_states(self.module, batch)

    def states(self, rows: Sequence[Row], where: Where) -> ResponseStates:
        """Hidden states of the responses of all rows, in order."""
        batch = self.pack(rows)
        with _quick_attention(self.module, self.device, batch):
            return response_states(self.module, batch, where=where)

    def last(self, rows: Sequence[Row]) -> Tensor:
        """Hidden state of the last token of each response of all rows, in order: [N, D]."""
        batch = self.pack(rows)
        return self.hidden(batch)[batch.row, batch.index_last]

    def idle(self, *, learning: bool) -> None:
        """A pass through divided weights that is for the other ranks alone and leaves nothing behind."""
        some = probe_tokens(self.module, 4)
        with torch.set_grad_enabled(learning):
            hidden = self.hidden(self.pack([Row(some[:2], [some[2:]])]))
            if learning:
                still(hidden).sum().backward()


EAGER_TOKENS = 320
"""Rows up to this long train faster on a CPU with plain attention: the backward of torch's fused attention
takes ten times its forward there (SmolLM2-135M, LoRA, bfloat16, rows of 188 tokens: 1.7 against 2.3 s)."""


@contextmanager
def _quick_attention(module: nn.Module, device: torch.device, batch: PackedBatch) -> Iterator[None]:
    """Inside the block the faster of two exact implementations of attention is used on padded rows."""
    config: Any = module.config
    long = batch.groups is not None or batch.input_ids.shape[1] > EAGER_TOKENS
    if device.type != "cpu" or long or config._attn_implementation != "sdpa":
        yield
        return
    config._attn_implementation = "eager"
    try:
        yield
    finally:
        config._attn_implementation = "sdpa"


def grouped(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> tuple[list[Row], list[int]]:
    """Rows of (prompt, response) pairs, equal prompts sharing a row.

    The second result says which pair each response of the rows, in order, came from.
    """
    places: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, (prompt, _) in enumerate(pairs):
        places[tuple(prompt)].append(place)
    rows = [Row(prompt, [pairs[place][1] for place in members]) for prompt, members in places.items()]
    return rows, [place for members in places.values() for place in members]


def head_scores(head: nn.Linear, hidden_D: Tensor) -> Tensor:
    """A scalar head in float32, whatever the trunk computes in: [..., D] → [...].

    In bfloat16 near scores would be rounded to equal ones.
    """
    bias = None if head.bias is None else head.bias.float()
    return nn.functional.linear(hidden_D.float(), head.weight.float(), bias).squeeze(-1)


def make_trainable(model: PreTrainedModel, *, lora_rank: int | None, seed: int) -> None:
    """Choose what is trained: adapters of that rank, or (None) every weight.

    Adapters compute in the number format of the base weights (their optimiser keeps float32 masters), and
    the embedding of the padding token learns like any other: it may be a token that text uses.
    """
    trunk = backbone(model)
    if lora_rank is None:
        model.requires_grad_(True)
        embeddings: Any = input_embeddings(trunk)
        embeddings.padding_idx = None
        return
    add_lora(model, lora_rank, seed)
    dtype = embedding_dtype(trunk)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(dtype)
