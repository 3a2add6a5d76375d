"""Reading prompts, and decoding, by the forward pass of transformers, where only attention has a cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from engine.models.parts import arguments
from engine.rollout.cache import RowCache


@dataclass
class Prefill:
    """Prompts that were read, each once, padded on the left to T tokens."""

    logits: Tensor  # [prompts, V] after the last token
    cache: RowCache
    mask: Tensor  # [prompts, T] 1 where there is a token


def prefill(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> Prefill:
    """One forward pass over distinct prompts."""
    width, device = max(map(len, prompts)), model.device
    ids = torch.zeros(len(prompts), width, dtype=torch.long)  # padding is any token: it is not seen
    mask = torch.zeros(len(prompts), width, dtype=torch.long)
    for place, prompt in enumerate(prompts):
        ids[place, width - len(prompt) :] = torch.tensor(prompt)
        mask[place, width - len(prompt) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    position = (mask.cumsum(-1) - 1).clamp_min(0)
    cache = RowCache(model.config)
    return Prefill(last_logits(model, ids, mask, position, cache), cache, mask)


class GenericDecoder:
    """A batch in the making: `logits` of the rows that go on, and one step after another."""

    def __init__(
        self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], place_N: Sequence[int]
    ) -> None:
        """After the prompts; `place_N` says from which of them each row begins."""
        read = prefill(model, prompts)
        places = torch.tensor(place_N, device=read.mask.device)
        self._model, self._cache = model, read.cache
        self._cache.select(places)
        self.logits = read.logits[places]
        self._mask_NT = read.mask[places]
        self._position_N = self._mask_NT.sum(-1)

    def step(self, token_N: Tensor) -> None:
        """One more token of every row, [N]."""
        self._mask_NT = torch.cat([self._mask_NT, self._mask_NT.new_ones(len(token_N), 1)], 1)
        ids, position = token_N.unsqueeze(1), self._position_N.unsqueeze(1)
        self.logits = last_logits(self._model, ids, self._mask_NT, position, self._cache)
        self._position_N = self._position_N + 1

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows, which copies their keys and values."""
        places = torch.tensor(rows, device=self._mask_NT.device)
        self._cache.select(places)
        self._mask_NT, self._position_N = self._mask_NT[places], self._position_N[places]


def last_logits(
    model: PreTrainedModel, ids_NT: Tensor, mask: Tensor, position_NT: Tensor, cache: Cache
) -> Tensor:
    """Logits at the last position only, [N, V]; `mask` says which tokens are seen, or adds to every score."""
    known = arguments(model)
    options: dict[str, Any] = {"position_ids": position_NT} if "position_ids" in known else {}
    if "logits_to_keep" in known:
        options["logits_to_keep"] = 1
    with _rows_in_order(model.get_output_embeddings()):
        output = model(
            input_ids=ids_NT, attention_mask=mask, past_key_values=cache, use_cache=True, **options
        )
    logits: Tensor = output.logits[:, -1]
    return logits


@contextmanager
def _rows_in_order(head: nn.Module) -> Iterator[None]:
    """The last position is a view with gaps, for which torch copies a frozen head once for every row."""
    hook = head.register_forward_pre_hook(lambda _, values: (values[0].contiguous(),))
    try:
        yield
    finally:
        hook.remove()
