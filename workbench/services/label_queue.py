"""In which order prompts and pairs wait for an annotator."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from storage import judgements, remembered
from storage.records import CandidatePair
from storage.store import Store

ORDERS: Mapping[str, str] = {
    "oldest": "oldest first",
    "random": "random",
    "least_agreed": "least agreed",
    "disagreement": "ensemble disagreement",
    "d_optimality": "D-optimality",
}
"""Orders of the queue as a person reads them; in the last two, what the live model would learn most from."""
INFORMED = ("disagreement", "d_optimality")
Key = TypeVar("Key")
Value = TypeVar("Value")


class Informed(Protocol):
    """Who knows what would be learned from a judgement: the live model."""

    def prompts_by(self, order: str) -> Sequence[str]:
        """Ids of prompts, those first whose judgement would tell most; empty while nobody knows."""
        ...

    def pairs_by(self, order: str) -> Sequence[tuple[str, str]]:
        """Pairs of response ids, the lesser id first, in the same way."""
        ...


class LabelQueue:
    """What waits in one store.  `informed` is asked for the orders of `INFORMED`."""

    def __init__(self, store: Store, informed: Informed | None = None) -> None:
        self.store = store
        self.informed = informed

    @property
    def order(self) -> str:
        """The order in which prompts and pairs come, as the store remembers it."""
        kept = remembered.get(self.store, "judging_order", "oldest")
        return kept if kept in ORDERS else "oldest"

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

    def best_prompts(self, order: str) -> Sequence[str]:
        """What the live model would learn most from, first; empty in other orders, and before a fit."""
        return self.informed.prompts_by(order) if order in INFORMED and self.informed is not None else ()

    def best_pairs(self, order: str) -> Sequence[tuple[str, str]]:
        """The same for pairs of responses, the lesser id first."""
        return self.informed.pairs_by(order) if order in INFORMED and self.informed is not None else ()

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
            return self._among(waiting, order, among)[:limit]
        if best := self.best_prompts(order):
            waiting_prompts = waiting(among=best, limit=None)
            return _first(best, dict(zip(waiting_prompts, waiting_prompts, strict=True)), limit, waiting)
        return waiting(seed=_seed(order, seed), least_agreed=order == "least_agreed", limit=limit)

    def _among(self, waiting: Callable[..., list[str]], order: str, among: Sequence[str]) -> list[str]:
        """Those of `among` that wait, in that order."""
        found = waiting(among=among, limit=None, least_agreed=order == "least_agreed")
        best = self.best_prompts(order)
        place = {prompt: number for number, prompt in enumerate(best)}
        return sorted(found, key=lambda prompt: place.get(prompt, len(place)))

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
        if best := self.best_pairs(order):
            prompts = judgements.prompts_of(self.store, [response for pair in best for response in pair])
            pairs = {(pair.response_a, pair.response_b): pair for pair in waiting(among=prompts, limit=None)}
            return _first(best, pairs, limit, waiting)
        return waiting(seed=_seed(order, seed), least_agreed=order == "least_agreed", limit=limit)


def _seed(order: str, seed: int | None) -> int | None:
    """What shuffles the prompts: nothing unless the order is random, and then something new each time."""
    if order != "random":
        return None
    return random.getrandbits(31) if seed is None else seed


def _first(
    best: Sequence[Key], known: Mapping[Key, Value], limit: int, waiting: Callable[..., list[Value]]
) -> list[Value]:
    """The first of those that wait, the best before the others, which keep their order.

    known: those of the best that wait, perhaps with others.  waiting: all that wait, asked only when the best
    are too few; a store may hold a million.
    """
    found = [known[key] for key in best if key in known]
    if len(found) < limit:
        others = waiting(limit=limit + len(found))
        found += [value for value in others if value not in found]
    return found[:limit]
