"""What the training loops share about models."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from engine.models.lora import add_lora
from engine.models.packing import embedding_dtype
from engine.models.parts import backbone


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
    trunk: Any = backbone(model)
    if lora_rank is None:
        model.requires_grad_(True)
        trunk.get_input_embeddings().padding_idx = None
        return
    add_lora(model, lora_rank, seed)
    dtype = embedding_dtype(trunk)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(dtype)


def device_of(name: str) -> torch.device:
    """The torch device of a configuration whose `auto` the worker has already resolved."""
    return torch.device("cpu" if name == "auto" else name)
