"""A key-value cache whose rows can be copied for the samples of a prompt and dropped when they have ended."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache, DynamicLayer

GROWTH = 64
"""Positions that a buffer gains when it is full."""


class _BufferLayer(DynamicLayer):
    """Keys and values of one layer, [N, heads, T, D], written into a buffer with room for more tokens.

    `DynamicLayer` concatenates, which copies the whole cache for every token.
    """

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = key_states.new_empty(0), value_states.new_empty(0)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, end = self.length, self.length + key_states.shape[-2]
        self.keys = _with_room(self.keys, key_states, start, end)
        self.values = _with_room(self.values, value_states, start, end)
        self.keys[:, :, start:end] = key_states
        self.values[:, :, start:end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self.length

    def select(self, rows: torch.Tensor) -> None:
        """Keep these rows, in this order; a row may be asked for several times."""
        if self.keys is not None and self.values is not None:
            self.keys = self.keys.index_select(0, rows)
            self.values = self.values.index_select(0, rows)


def _with_room(buffer: torch.Tensor | None, states: torch.Tensor, used: int, needed: int) -> torch.Tensor:
    if buffer is not None and buffer.numel() and buffer.shape[-2] >= needed:
        return buffer
    rows, heads, _, size = states.shape
    larger = states.new_empty(rows, heads, needed + GROWTH, size)
    if used and buffer is not None:
        larger[:, :, :used] = buffer[:, :, :used]
    return larger


class RowCache(Cache):
    """The cache of a batch of sequences; the attention mask alone says which positions are seen.

    Layers with a sliding window keep every position too: transformers' mask hides those outside the window.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        self._buffers = [_BufferLayer() for _ in range(config.get_text_config().num_hidden_layers)]
        super().__init__(layers=list(self._buffers))

    def select(self, rows: torch.Tensor) -> None:
        """Keep these rows of every layer.  [new N]"""
        for layer in self._buffers:
            layer.select(rows)

    def tensors(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of every layer that has some, [N, heads, T, D]."""
        tensors = []
        for layer in self._buffers:
            if layer.keys is not None and layer.values is not None:
                tensors.append((layer.keys[:, :, : layer.length], layer.values[:, :, : layer.length]))
        return tensors
