"""In which order prompts and pairs wait for an annotator."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from engine.errors import UsageError
from engine.protocol.suggest import did_you_mean
from storage import judgements, remembered, runs
from storage.records import CandidatePair
from storage.store import Store
from workbench.services.labels.labels import Labels

ORDERS: Mapping[str, str] = {
    "oldest": "oldest first",
    "random": "random",
    "least_agreed": "least agreed",
    "consensus": "for the consensus",
    "reward_model": "for the reward model",
}
"""Orders of the queue as a person reads them."""
STALE = 16
"""After so many judgements the model of labels is fitted anew before the queue asks by it."""
Key = TypeVar("Key")
Value = TypeVar("Value")


class Informed(Protocol):
    """Who knows what a reward model would learn from a judgement: the live model."""

    @property
    def refits(self) -> int:
        """How often what it knows has changed."""
        ...

    def most_informative(self) -> Sequence[tuple[str, str, str]]:
        """Prompt and two responses, what would be learned most from first; empty while nobody knows."""
        ...


class LabelQueue:
    """What waits in one store.  `informed` is asked in the order `reward_model`."""

    def __init__(self, store: Store, informed: Informed | None = None) -> None:
        self.store = store
        self.informed = informed

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

    @property
    def refits(self) -> int:
        """How often the live model has changed what it would learn most from."""
        return 0 if self.informed is None else self.informed.refits

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
        """The first `limit` prompts that wait for the annotator, in that order; `among`: which may come.

        What a paused run waits for comes before all others.
        """
        waiting = partial(
            judgements.prompts_to_rank, self.store, annotator, criterion, exclude=tuple(exclude)
        )
        if among is None and criterion == "overall" and (wanted := runs.waited_for(self.store)):
            open_ = set(waiting(among=wanted, limit=None))
            first = [prompt for prompt in wanted if prompt in open_][:limit]
            if len(first) == limit:
                return first
            exclude = {*exclude, *first}
            left = limit - len(first)
            return first + self._others(annotator, order, criterion, left, seed, exclude, None)
        return self._others(annotator, order, criterion, limit, seed, exclude, among)

    def _others(
        self,
        annotator: str,
        order: str,
        criterion: str,
        limit: int,
        seed: int | None,
        exclude: Collection[str],
        among: Sequence[str] | None,
    ) -> list[str]:
        waiting = partial(
            judgements.prompts_to_rank, self.store, annotator, criterion, exclude=tuple(exclude)
        )
        by = self._stored(order, criterion)
        if best := self._best(order):
            names = list(dict.fromkeys(prompt for prompt, _, _ in best))
            may = names if among is None else [name for name in names if name in set(among)]
            open_ = set(waiting(among=may, limit=None))
            return _first([name for name in may if name in open_], limit, partial(waiting, among=among))
        if among is not None:
            return waiting(among=among, limit=limit, order=by)
        return waiting(seed=_seed(order, seed), order=by, limit=limit)

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
        if best := self._best(order):
            names = list(dict.fromkeys(prompt for prompt, _, _ in best))
            open_ = {(p.response_a, p.response_b): p for p in waiting(among=names, limit=None)}
            found = [open_[pair] for _, *both in best if (pair := (min(both), max(both))) in open_]
            return _first(found, limit, waiting)
        return waiting(seed=_seed(order, seed), order=self._stored(order, criterion), limit=limit)

    def _best(self, order: str) -> Sequence[tuple[str, str, str]]:
        """What the live model would learn most from; empty in other orders, and before it can tell."""
        if order != "reward_model" or self.informed is None:
            return ()
        return self.informed.most_informative()

    def _stored(self, order: str, criterion: str) -> judgements.Order | None:
        """The orders that the store knows; the consensus is first brought up to date."""
        if order == "consensus":
            Labels(self.store).refresh(criterion, at_most=STALE)
            return "consensus"
        return "least_agreed" if order == "least_agreed" else None


def _seed(order: str, seed: int | None) -> int | None:
    """What shuffles the prompts: nothing unless the order is random, and then something new each time."""
    if order != "random":
        return None
    return random.getrandbits(31) if seed is None else seed


def _first(best: list[Value], limit: int, waiting: Callable[..., list[Value]]) -> list[Value]:
    """The best before all others that wait, which are asked for only when the best are too few."""
    if len(best) < limit:
        best = best + [value for value in waiting(limit=limit + len(best)) if value not in best]
    return best[:limit]
