"""What comes next for an annotator, fetched some prompts at a time.

Asking a store of a million responses which prompts are open takes seconds; asking whether one prompt is still
open takes a millisecond.  So some are fetched at once, and the next batch while these are being judged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Generic, TypeVar

from storage import judgements
from storage.records import CandidatePair
from storage.store import Store
from workbench.services.label_queue import INFORMED, LabelQueue

BATCH = 64
LOW = 24
"""With so few left, the next batch is worth fetching."""
FIXED = ("oldest", "random")
"""Orders that no judgement changes."""
LOOKED_AT = 32
"""Of those that the live model would learn most from, so many are looked at one by one before all are."""
OTHERS = 16
"""After so many judgements of others, who agrees least is asked anew."""
Key = tuple[str, ...]
Value = TypeVar("Value")


class Upcoming(Generic[Value]):
    """The next values of one queue at a time.  Thread-safe."""

    def __init__(self) -> None:
        self._key: Key = ()
        self._waiting: list[Value] = []
        self._all = False  # the store had no more when it was last asked
        self._lock = threading.Lock()
        self._filling = threading.Lock()

    def first(
        self,
        key: Key,
        fetch: Callable[[int], Sequence[Value]],
        is_open: Callable[[Value], bool],
        exclude: Callable[[Value], bool] = lambda _: False,
    ) -> Value | None:
        """The first value that is still open.

        key: names the queue; another one than before begins anew.  fetch: its first so many values as the
        store has them now.  A value that is no longer open is forgotten; one that `exclude` holds back stays.
        """
        with self._lock:
            if key != self._key:
                self._key, self._waiting = key, []
            for value in list(self._waiting):
                if not is_open(value):
                    self._waiting.remove(value)
                elif not exclude(value):
                    return value
            self._waiting = list(fetch(BATCH))
            self._all = len(self._waiting) < BATCH
            return next((value for value in self._waiting if is_open(value) and not exclude(value)), None)

    def refill(self, key: Key, fetch: Callable[[int], Sequence[Value]]) -> None:
        """Fetch behind what waits, where that is little; one call at a time, others return at once."""
        enough = self._all or len(self._waiting) > LOW
        if key != self._key or enough or not self._filling.acquire(blocking=False):
            return
        try:
            found = fetch(BATCH)
            with self._lock:
                if key == self._key:
                    self._waiting += [value for value in found if value not in self._waiting]
                    self._all = len(found) < BATCH
        finally:
            self._filling.release()

    def forget(self) -> None:
        """The store has changed in a way that nobody here knows."""
        with self._lock:
            self._key, self._waiting = (), []


class Next:
    """The next prompt or pair of one store."""

    def __init__(self, store: Store, queue: LabelQueue) -> None:
        self._store, self._queue = store, queue
        self._prompts: Upcoming[str] = Upcoming()
        self._pairs: Upcoming[CandidatePair] = Upcoming()

    def prompt(
        self, annotator: str, order: str, criterion: str, seed: int | None, exclude: Collection[str]
    ) -> str | None:
        """The prompt that comes first; only a seed asks the store for all that is open."""

        def is_open(prompt_id: str) -> bool:
            """Whether there are two different responses, one of them new to the annotator."""
            found = judgements.candidates(self._store, prompt_id, annotator, criterion)
            return len({entry.text for entry in found}) > 1 and not all(entry.seen for entry in found)

        if seed is not None:
            return next(
                iter(self._queue.prompts(annotator, order, criterion=criterion, seed=seed, exclude=exclude)),
                None,
            )
        if order in INFORMED:
            best = self._queue.best_prompts(order)
            found = next((p for p in best[:LOOKED_AT] if p not in exclude and is_open(p)), None)
            if found is not None or best:
                return found or next(
                    iter(self._queue.prompts(annotator, order, criterion=criterion, exclude=exclude)), None
                )
        return self._prompts.first(
            self._key(annotator, order, criterion),
            lambda limit: self._queue.prompts(
                annotator, order, criterion=criterion, limit=limit, exclude=exclude
            ),
            is_open,
            lambda prompt_id: prompt_id in exclude,
        )

    def pair(
        self, annotator: str, order: str, criterion: str, seed: int | None, exclude: Collection[str]
    ) -> CandidatePair | None:
        """The pair that comes first, in the same way."""
        if seed is not None:
            return next(
                iter(self._queue.pairs(annotator, order, criterion=criterion, seed=seed, exclude=exclude)),
                None,
            )
        if order in INFORMED:
            best = self._queue.best_pairs(order)
            prompts_of = judgements.prompts_by_response(
                self._store, [key for pair in best[:LOOKED_AT] for key in pair]
            )
            for a, b in best[:LOOKED_AT]:
                pair = CandidatePair(prompts_of.get(a, ""), a, b)
                if (
                    pair.prompt_id
                    and pair.prompt_id not in exclude
                    and self._is_open(pair, annotator, criterion)
                ):
                    return pair
            if best:
                return next(
                    iter(self._queue.pairs(annotator, order, criterion=criterion, exclude=exclude)), None
                )
        return self._pairs.first(
            self._key(annotator, order, criterion),
            lambda limit: self._fetch_pairs(annotator, order, criterion, limit, exclude),
            lambda pair: judgements.pair_is_open(self._store, pair, annotator, criterion),
            lambda pair: pair.prompt_id in exclude,
        )

    def _is_open(self, pair: CandidatePair, annotator: str, criterion: str) -> bool:
        """Whether the two differ and the annotator has not met them in one judgement."""
        found = judgements.candidates(self._store, pair.prompt_id, annotator, criterion)
        texts = {entry.text for entry in found if entry.response_id in (pair.response_a, pair.response_b)}
        return len(texts) == 2 and judgements.pair_is_open(self._store, pair, annotator, criterion)

    def _fetch_pairs(
        self, annotator: str, order: str, criterion: str, limit: int, exclude: Collection[str] = ()
    ) -> list[CandidatePair]:
        """The first pairs.  Of the least agreed one a prompt: its verdict puts the prompt's others back."""
        found = self._queue.pairs(annotator, order, criterion=criterion, limit=limit, exclude=exclude)
        if order != "least_agreed":
            return found
        return list({pair.prompt_id: pair for pair in reversed(found)}.values())[::-1]

    def prepare(self, annotator: str, order: str, criterion: str, *, pairs: bool) -> None:
        """Fetch more where little is left."""
        best = (self._queue.best_pairs if pairs else self._queue.best_prompts)(order)
        if best:
            return
        key = self._key(annotator, order, criterion)
        if pairs:
            self._pairs.refill(key, lambda limit: self._fetch_pairs(annotator, order, criterion, limit))
        else:
            self._prompts.refill(
                key, lambda limit: self._queue.prompts(annotator, order, criterion=criterion, limit=limit)
            )

    def _key(self, annotator: str, order: str, criterion: str) -> Key:
        """Of the least agreed, what others have judged meanwhile makes another queue."""
        if order != "least_agreed":
            return (annotator, order, criterion)
        others = judgements.written_by_others(self._store, annotator, criterion)
        return (annotator, order, criterion, str(others // OTHERS))

    def forget(self) -> None:
        """Something came back that was judged: it may come first again."""
        self._prompts.forget()
        self._pairs.forget()
