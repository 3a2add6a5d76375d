"""Sampling from a geometric mixture of a policy and its reference, token by token.

π_m(y_t | x, y_<t) ∝ π^(1−m) π_ref^m: a weighted mean of logits.  The mixture of whole responses has the same
factors with a normaliser for each prefix, which nobody can compute; that of single tokens stands in for it
(Munos et al., "Nash learning from human feedback", arXiv 2312.00886).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from engine.models.lora import without_lora


@dataclass(frozen=True)
class Mixture:
    """A policy and its reference: another model, or the policy without its adapters."""

    model: PreTrainedModel
    reference: PreTrainedModel | None
    share: float
    """Of the reference, m."""

    @contextmanager
    def referring(self) -> Iterator[PreTrainedModel]:
        """Inside the block the model that is given is the reference."""
        if self.reference is not None:
            yield self.reference
            return
        with without_lora(self.model):
            yield self.model


class MixtureDecoder:
    """Two decoders side by side that get the same tokens; `logits` are those of the mixture."""

    def __init__(
        self,
        mixture: Mixture,
        own: Callable[[list[tuple[int, ...]], list[int]], Any],
        other: Callable[[list[tuple[int, ...]], list[int]], Any],
        prompts: list[tuple[int, ...]],
        place_N: list[int],
    ) -> None:
        """After the prompts; `own` and `other` open the decoders of policy and reference."""
        self._mixture, self._own = mixture, own(prompts, place_N)
        with mixture.referring():
            self._other = other(prompts, place_N)

    @property
    def logits(self) -> Tensor:
        """[N, V] float32"""
        share = self._mixture.share
        mixed_N_V: Tensor = (1 - share) * self._own.logits.float() + share * self._other.logits.float()
        return mixed_N_V

    def step(self, token_N: Tensor) -> None:
        """One more token of every row, [N]."""
        self._own.step(token_N)
        with self._mixture.referring():
            self._other.step(token_N)

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows."""
        self._own.keep(rows)
        self._other.keep(rows)
