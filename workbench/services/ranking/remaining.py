"""How much still waits for an annotator, kept up to date instead of being counted anew.

In a store of a million responses counting what waits takes half a second of every core, after each judgement;
looking at the one prompt that was judged takes two milliseconds.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from storage import waiting
from storage.store import Store


@dataclass
class _Known:
    """What was counted for one annotator, way and criterion."""

    state: waiting.Counted
    judgeable: int
    done: dict[str, int]


class Remaining:
    """What waits in one store.  Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str, bool], _Known] = {}
        self._counting = threading.Lock()

    def left(self, annotator: str, criterion: str, *, pairs: bool) -> int:
        """How many prompts (or pairs) wait for the annotator now.

        Everything is counted where responses have come or gone, or where judgements have not only been added.
        """
        with self._counting:
            key = (annotator, criterion, pairs)
            now = waiting.state(self._store)
            known = self._known.get(key)
            if known is not None and now.responses == known.state.responses and self._follow(known, now, key):
                known.state = now
            else:
                done = waiting.done(self._store, annotator, criterion, pairs=pairs)
                known = _Known(now, waiting.judgeable(self._store, pairs=pairs), done)
                self._known[key] = known
            return known.judgeable - sum(known.done.values())

    def _follow(self, known: _Known, now: waiting.Counted, key: tuple[str, str, bool]) -> bool:
        """Take in the judgements since; False where that cannot be done."""
        annotator, criterion, pairs = key
        last = known.state.last_row
        there = last is not None and waiting.judgement_at(self._store, last) == known.state.last_judgement
        if not known.state.appended(now, there):
            return False
        if last is None or now.last_row == last:
            return True
        prompts = waiting.judged_after(self._store, last, annotator, criterion)
        if prompts:
            done = waiting.done(self._store, annotator, criterion, pairs=pairs, prompts=prompts)
            for prompt in prompts:
                known.done.pop(prompt, None)
            known.done |= done
        return True
