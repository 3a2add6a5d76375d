"""The sequences scored last, with keys and values, so that a text that goes on costs its new tokens only.

Sequences are compared by token ids: what a tokeniser makes of the text before a change may differ from what
it made of it before, and then the difference is computed again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from engine.scoring.graph import Passage

CACHE_BYTES = 192 * 2**20
"""What the passages of one scorer take in memory at most; a token of SmolLM2-135M takes 48 kB."""
PASSAGES = 8


class PassageCache:
    """Passages, least recently used first.  Thread-safe."""

    def __init__(self, limit_bytes: int = CACHE_BYTES, limit: int = PASSAGES) -> None:
        self.limit_bytes, self.limit = limit_bytes, limit
        self._passages: OrderedDict[int, Passage] = OrderedDict()
        self._numbers = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._passages)

    @property
    def bytes(self) -> int:
        """What the passages take."""
        with self._lock:
            return sum(passage.bytes for passage in self._passages.values())

    def best(self, ids: Sequence[int]) -> tuple[Passage, int] | None:
        """The passage that shares most tokens with the beginning of `ids`, and how many; None for none."""
        wanted = np.asarray(ids, dtype=np.int64)
        with self._lock:
            shared = {key: common(passage.ids, wanted) for key, passage in self._passages.items()}
            key = max(shared, key=lambda key: shared[key], default=None)
            if key is None or not shared[key]:
                return None
            self._passages.move_to_end(key)
            return self._passages[key], shared[key]

    def add(self, passage: Passage) -> None:
        """Keep a passage instead of the one that it goes on from, if it reads the same keys and values.

        The least recently used go when there are too many or too large ones.
        """
        if passage.bytes > self.limit_bytes:
            return
        with self._lock:
            for key in [key for key, other in self._passages.items() if other.cached is passage.cached]:
                del self._passages[key]
            self._numbers += 1
            self._passages[self._numbers] = passage
            size = sum(other.bytes for other in self._passages.values())
            while len(self._passages) > self.limit or size > self.limit_bytes:
                size -= self._passages.popitem(last=False)[1].bytes

    def clear(self) -> None:
        """Forget every passage, and give their memory back."""
        with self._lock:
            self._passages.clear()


def common(first: np.ndarray, second: np.ndarray) -> int:
    """How many tokens two sequences share from their beginning."""
    length = min(len(first), len(second))
    differ = np.flatnonzero(first[:length] != second[:length])
    return int(differ[0]) if len(differ) else length
