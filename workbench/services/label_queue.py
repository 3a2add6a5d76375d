"""In which order prompts and pairs wait for an annotator."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from storage import judgements, remembered
from storage.records import CandidatePair
from storage.store import Store

ORDERS: Mapping[str, str] = {
    "oldest": "oldest first",
    "random": "random",
    "least_agreed": "least agreed",
}
"""Orders of the queue as a person reads them."""


class LabelQueue:
    """What waits in one store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def order(self) -> str:
        """The order in which prompts and pairs come, as the store remembers it."""
        remembered_order = remembered.get(self.store, "judging_order", "oldest")
        return remembered_order if remembered_order in ORDERS else "oldest"

    def set_order(self, order: str) -> None:
        """Remember an order.  Raises `UsageError` for one that there is not."""
        if order not in ORDERS:
            raise UsageError(f"There is no order “{order}”. {did_you_mean(order, ORDERS)}")
        remembered.put(self.store, "judging_order", order)

    @property
    def shows_agreement(self) -> bool:
        """Whether a judgement is followed by the ranking of the live model, as the store remembers it."""
        return remembered.get(self.store, "show_agreement", "yes") == "yes"

    def set_shows_agreement(self, wanted: bool) -> None:
        """Remember whether the rank screen tells an annotator how far others agree."""
        remembered.put(self.store, "show_agreement", "yes" if wanted else "no")

    def prompts(
        self,
        annotator: str,
        order: str,
        *,
        criterion: str = "overall",
        limit: int = 1,
        seed: int | None = None,
        exclude: Collection[str] = (),
        among: Sequence[str] | None = None,
    ) -> list[str]:
        """The first `limit` prompts that wait for the annotator, in that order; `among`: which may come."""
        waiting = partial(
            judgements.prompts_to_rank, self.store, annotator, criterion, exclude=tuple(exclude)
        )
        if among is not None:
            return waiting(among=among, limit=limit, least_agreed=order == "least_agreed")
        return waiting(seed=_seed(order, seed), least_agreed=order == "least_agreed", limit=limit)

    def pairs(
        self,
        annotator: str,
        order: str,
        *,
        criterion: str = "overall",
        limit: int = 1,
        seed: int | None = None,
        exclude: Collection[str] = (),
    ) -> list[CandidatePair]:
        """The first `limit` pairs that wait for the annotator, in that order."""
        waiting = partial(judgements.pairs_to_judge, self.store, annotator, criterion, exclude=tuple(exclude))
        return waiting(seed=_seed(order, seed), least_agreed=order == "least_agreed", limit=limit)


def _seed(order: str, seed: int | None) -> int | None:
    """What shuffles the prompts: nothing unless the order is random, and then something new each time."""
    if order != "random":
        return None
    return random.getrandbits(31) if seed is None else seed
