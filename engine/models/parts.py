"""The parts of a transformers model that training code needs by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel


def backbone(model: PreTrainedModel) -> nn.Module:
    """The transformer without its head: tokens in, `last_hidden_state` [N, T, D] out."""
    return model.base_model


def output_head(model: PreTrainedModel) -> nn.Linear:
    """What maps hidden states to logits [.., V] (language model) or to one score (reward model)."""
    for name in ("score", "classifier"):
        head = getattr(model, name, None)
        if isinstance(head, nn.Linear):
            return head
    embeddings = model.get_output_embeddings()
    if not isinstance(embeddings, nn.Linear):
        raise ValueError(f"{type(model).__name__} has no output head")
    return embeddings


def arguments(module: nn.Module) -> set[str]:
    """Names of the arguments of forward, seen through wrappers."""
    forward: Callable[..., object] = inspect.unwrap(type(module).forward)
    return set(inspect.signature(forward).parameters)


def input_embeddings(module: nn.Module) -> nn.Embedding:
    """Where token ids enter a model or its backbone."""
    model: Any = module
    try:
        embedding: nn.Embedding = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):  # a wrapper that does not say
        embedding = next(part for part in module.modules() if isinstance(part, nn.Embedding))
    return embedding


def probe_tokens(module: nn.Module, count: int) -> list[int]:
    """Some tokens of the model's vocabulary, the same each time, spread over it."""
    size = input_embeddings(module).weight.shape[0]
    return [(7919 * place + 11) % size for place in range(count)]


def place(model: PreTrainedModel, device: str | torch.device) -> PreTrainedModel:
    """The model on a device."""
    nn.Module.to(model, torch.device(device))
    return model
