"""The parts of a transformers model that training code needs by name."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel

from engine.errors import UsageError


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


def place(model: PreTrainedModel, device: str | torch.device) -> PreTrainedModel:
    """The model on a device."""
    nn.Module.to(model, torch.device(device))
    return model


def resolve_device(device: str = "auto") -> torch.device:
    """`auto` is the first CUDA device, or the CPU.

    Raises UsageError for a device that this machine does not have.
    """
    if device == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f'"{device}" is not a device; choose auto, cpu, cuda or cuda:N.') from error
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            raise UsageError(f"This machine has {count} CUDA devices and so no {device}; choose auto or cpu.")
        return torch.device("cuda", chosen.index or 0)
    return chosen
