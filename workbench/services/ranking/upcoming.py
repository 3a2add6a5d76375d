"""What comes next for an annotator, fetched some prompts at a time.

Asking a store of a million responses which prompts are open takes seconds; asking whether one prompt is still
open takes a millisecond.  So some are fetched at once, and the next batch while these are being judged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from storage import judgements, runs
from storage.records import CandidatePair, CandidateResponse
from storage.store import Store
from workbench.services.ranking.label_queue import LabelQueue

BATCH = 64
LOW = 24
"""With so few left, the next batch is worth fetching."""
FIXED = ("oldest", "random")
"""Orders that no judgement changes."""
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
            fetched = fetch(BATCH)
            with self._lock:
                if key == self._key:
                    self._waiting += [value for value in fetched if value not in self._waiting]
                    self._all = len(fetched) < BATCH
        finally:
            self._filling.release()

    def forget(self) -> None:
        """The store has changed in a way that nobody here knows."""
        with self._lock:
            self._key, self._waiting = (), []


@dataclass(frozen=True)
class _Kind(Generic[Value]):
    """Prompts or pairs: what is asked of the queue and of one of them."""

    listed: Callable[..., Sequence[Value]]
    """As `LabelQueue.prompts`: by annotator, order, criterion, limit, seed and what is held back."""
    is_open: Callable[[Value, str, str], bool]
    """Whether it still waits for an annotator by a criterion."""
    prompt_of: Callable[[Value], str]
    upcoming: Upcoming[Value]


class Next:
    """The next prompt or pair of one store."""

    def __init__(self, store: Store, queue: LabelQueue) -> None:
        self._store, self._queue = store, queue
        self._known: tuple[tuple[int, str, str, str], list[CandidateResponse]] | None = None
        self._prompts: _Kind[str] = _Kind(queue.prompts, self._prompt_is_open, str, Upcoming())
        self._pairs: _Kind[CandidatePair] = _Kind(
            self._list_pairs,
            self._pair_is_open,
            lambda pair: pair.prompt_id,
            Upcoming(),
        )

    def prompt(
        self, annotator: str, order: str, criterion: str, seed: int | None, exclude: Collection[str]
    ) -> str | None:
        """The prompt that comes first; only a seed asks the store for all that is open."""
        return self._first(self._prompts, annotator, order, criterion, seed, exclude)

    def pair(
        self, annotator: str, order: str, criterion: str, seed: int | None, exclude: Collection[str]
    ) -> CandidatePair | None:
        """The pair that comes first, in the same way."""
        return self._first(self._pairs, annotator, order, criterion, seed, exclude)

    def _first(
        self,
        kind: _Kind[Value],
        annotator: str,
        order: str,
        criterion: str,
        seed: int | None,
        exclude: Collection[str],
    ) -> Value | None:
        def listed(**settings: int) -> Sequence[Value]:
            return kind.listed(annotator, order, criterion=criterion, exclude=exclude, **settings)

        def is_open(value: Value) -> bool:
            return kind.is_open(value, annotator, criterion)

        def held_back(value: Value) -> bool:
            return kind.prompt_of(value) in exclude

        if seed is not None:
            return next(iter(listed(seed=seed)), None)
        key = self._key(annotator, order, criterion)
        return kind.upcoming.first(key, lambda limit: listed(limit=limit), is_open, held_back)

    def candidates(self, prompt_id: str, annotator: str, criterion: str) -> list[CandidateResponse]:
        """The responses to a prompt.  What was read to see whether it is open is given out once."""
        known, self._known = self._known, None
        if known is not None and known[0] == (self._store.changes, prompt_id, annotator, criterion):
            return known[1]
        return judgements.candidates(self._store, prompt_id, annotator, criterion)

    def _prompt_is_open(self, prompt_id: str, annotator: str, criterion: str) -> bool:
        """Whether there are two different responses, one of them new to the annotator."""
        key = (self._store.changes, prompt_id, annotator, criterion)
        candidates = judgements.candidates(self._store, prompt_id, annotator, criterion)
        self._known = key, candidates
        return len({entry.text for entry in candidates}) > 1 and not all(entry.seen for entry in candidates)

    def _pair_is_open(self, pair: CandidatePair, annotator: str, criterion: str) -> bool:
        """Whether the two differ and the annotator has not met them in one judgement."""
        if not judgements.pair_is_open(self._store, pair, annotator, criterion):
            return False
        candidates = judgements.candidates(self._store, pair.prompt_id, annotator, criterion)
        texts = {
            entry.text for entry in candidates if entry.response_id in (pair.response_a, pair.response_b)
        }
        return len(texts) == 2

    def _list_pairs(self, annotator: str, order: str, **settings: Any) -> list[CandidatePair]:
        """The first pairs.  Of the least agreed one a prompt: its verdict puts the prompt's others back."""
        pairs = self._queue.pairs(annotator, order, **settings)
        if order not in ("least_agreed", "consensus"):
            return pairs
        first_of: dict[str, CandidatePair] = {}
        for pair in pairs:
            first_of.setdefault(pair.prompt_id, pair)
        return list(first_of.values())

    def prepare(self, annotator: str, order: str, criterion: str, *, pairs: bool) -> None:
        """Fetch more where little is left."""
        if pairs:
            self._refill(self._pairs, annotator, order, criterion)
        else:
            self._refill(self._prompts, annotator, order, criterion)

    def _refill(self, kind: _Kind[Value], annotator: str, order: str, criterion: str) -> None:
        key = self._key(annotator, order, criterion)
        kind.upcoming.refill(
            key, lambda limit: kind.listed(annotator, order, criterion=criterion, limit=limit)
        )

    def _key(self, annotator: str, order: str, criterion: str) -> Key:
        """What others have judged meanwhile, the live model has learned, or a run waits for, makes another
        queue.
        """
        key = (annotator, order, criterion, *runs.waiting_for_people(self._store))
        if order == "reward_model":
            return (*key, str(self._queue.refits))
        if order not in ("least_agreed", "consensus"):
            return key
        others = judgements.written_by_others(self._store, annotator, criterion)
        return (*key, str(others // OTHERS))

    def forget(self) -> None:
        """Something came back that was judged: it may come first again."""
        self._prompts.upcoming.forget()
        self._pairs.upcoming.forget()
