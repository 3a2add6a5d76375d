"""The parts of a transformers model that training code needs by name."""

from __future__ import annotations

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


def place(model: PreTrainedModel, device: str | torch.device) -> PreTrainedModel:
    """The model on a device."""
    nn.Module.to(model, torch.device(device))
    return model
