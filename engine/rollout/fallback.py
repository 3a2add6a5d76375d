"""Decoding architectures that keep more than keys and values, or keep them in a way of their own.

`OwnCacheDecoder` leaves the cache to transformers: recurrent and convolutional states (Mamba, Qwen3-Next,
LFM2, Falcon-H1 …) cannot be padded on the left, so prompts of one length are read together, each as often as
it has samples.  `NoCacheDecoder` keeps nothing and reads everything again for every token, as training does:
slow, and right for any causal model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from engine.models.head import head_of
from engine.models.packing import Row, hidden_states, pack
from engine.models.parts import arguments, backbone

CACHES = ("past_key_values", "cache_params", "state")
"""What forward passes call their cache, as an argument and in what they return."""


@dataclass
class _Group:
    """Rows with prompts of one length."""

    rows: list[int]  # of the batch, those that go on
    places: list[int]  # where each of them is in the cache
    cache: Any


class OwnCacheDecoder:
    """A batch in the making: `logits` of the rows that go on, and one step after another."""

    def __init__(
        self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], place_N: Sequence[int]
    ) -> None:
        """After the prompts; `place_N` says from which of them each row begins."""
        self._model = model
        self._name = next((name for name in CACHES if name in arguments(model)), "")
        if not self._name:
            raise ValueError(f"{type(model).__name__} takes no cache")
        lengths: dict[int, list[int]] = {}
        for row, place in enumerate(place_N):
            lengths.setdefault(len(prompts[place]), []).append(row)
        self._groups: list[_Group] = []
        logits_by_row: dict[int, Tensor] = {}
        for rows in lengths.values():
            ids = torch.tensor([list(prompts[place_N[row]]) for row in rows], device=model.device)
            group = _Group(rows, list(range(len(rows))), None)
            logits_by_row |= dict(zip(rows, self._read(group, ids), strict=True))
            self._groups.append(group)
        self.logits = torch.stack([logits_by_row[row] for row in range(len(place_N))])

    def step(self, token_N: Tensor) -> None:
        """One more token of every row, [N]."""
        logits_by_row: list[Tensor] = [token_N] * len(token_N)
        for group in self._groups:
            size = 1 + max(group.places)
            token = token_N.new_zeros(size, 1)
            token[group.places, 0] = token_N[group.rows]
            logits = self._read(group, token)
            for row, place in zip(group.rows, group.places, strict=True):
                logits_by_row[row] = logits[place]
        self.logits = torch.stack(logits_by_row)

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows."""
        number = {row: new for new, row in enumerate(rows)}
        for group in self._groups:
            going_on = [(number[r], p) for r, p in zip(group.rows, group.places, strict=True) if r in number]
            group.rows = [row for row, _ in going_on]
            places = [place for _, place in going_on]
            if going_on and isinstance(group.cache, Cache):
                cache: Any = group.cache
                cache.reorder_cache(torch.tensor(places, device=self._model.device))
                places = list(range(len(places)))
            group.places = places
        self._groups = [group for group in self._groups if group.rows]

    def _read(self, group: _Group, ids_n_t: Tensor) -> Tensor:
        """Logits after more tokens of a group, [n, V]; its cache moves on."""
        known = arguments(self._model)
        options: dict[str, Any] = {"use_cache": True}
        if "logits_to_keep" in known:
            options["logits_to_keep"] = 1
        output = self._model(input_ids=ids_n_t, **{self._name: group.cache}, **options)
        group.cache = getattr(output, self._name)
        logits: Tensor = output.logits[:, -1]
        return logits


class NoCacheDecoder:
    """As `OwnCacheDecoder`, by the forward pass of training over everything."""

    def __init__(
        self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], place_N: Sequence[int]
    ) -> None:
        self._model = model
        self._rows = [list(prompts[place]) for place in place_N]
        self.logits = self._read()

    def step(self, token_N: Tensor) -> None:
        """One more token of every row, [N]."""
        for row, token in zip(self._rows, token_N.tolist(), strict=True):
            row.append(token)
        self.logits = self._read()

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows."""
        self._rows = [self._rows[row] for row in rows]

    def _read(self) -> Tensor:
        batch = pack(
            [Row(ids, [[]]) for ids in self._rows], pad_id=0, device=self._model.device, packed=False
        )
        hidden_N_T_D = hidden_states(backbone(self._model), batch)
        last_N = torch.tensor([len(ids) - 1 for ids in self._rows], device=hidden_N_T_D.device)
        return head_of(self._model)(hidden_N_T_D[torch.arange(len(last_N), device=last_N.device), last_N])
