"""Ranking many responses by pairs: which two to compare next, and the order once that is known.

Merge insertion (Ford and Johnson, American Mathematical Monthly 66, 1959; Knuth, The Art of Computer
Programming 3, §5.3.1): compare in pairs, sort the better ones in the same way, insert the others by halving,
in the sequence in which halving wastes nothing.  Twelve responses take at most 30 comparisons, where each
with each would be 66.  Two that are called equal stay together from then on.

What has been answered is all that is kept: the next question follows from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Answer = tuple[str, str, int]
"""Two responses and 1: the first is better, −1: the second is, 0: they are equal."""


@dataclass(frozen=True)
class Sorting:
    """How far a sorting is."""

    question: tuple[str, str] | None
    """What to compare next; None once the order is known."""
    groups: tuple[tuple[str, ...], ...]
    """The order, the best first, equal ones together; empty before."""
    left: int
    """At most so many comparisons are to come."""


class _OpenError(Exception):
    """Nobody has said yet which of two is better."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first, second)
        self.pair = (first, second)


def sorting(responses: Sequence[str], answers: Sequence[Answer]) -> Sorting:
    """The next question about responses, or their order."""
    known = {(first, second): verdict for first, second, verdict in answers}
    sorter = _Sorter(known)
    try:
        worst_first = sorter.sorted(list(responses))
    except _OpenError as open_:
        return Sorting(open_.pair, (), max(1, most_comparisons(len(responses)) - len(answers)))
    groups = tuple(tuple(sorter.together(key)) for key in reversed(worst_first))
    return Sorting(None, groups, 0)


def answers_for(responses: Sequence[str], ranks: Mapping[str, int]) -> tuple[Answer, ...]:
    """What would have been answered to end with these ranks, 1 the best."""
    answers: list[Answer] = []
    while (question := sorting(responses, answers).question) is not None:
        first, second = question
        answers.append((first, second, (ranks[second] > ranks[first]) - (ranks[second] < ranks[first])))
    return tuple(answers)


def most_comparisons(count: int) -> int:
    """Of so many responses at the worst: Σ ⌈log₂(3k/4)⌉ (Knuth, §5.3.1, eq. 19)."""
    return sum(math.ceil(math.log2(3 * k / 4)) for k in range(1, count + 1))


class _Sorter:
    """Sorts by what is known, the worst first; equal ones stand for each other."""

    def __init__(self, known: Mapping[tuple[str, str], int]) -> None:
        self._known = known
        self._equal: dict[str, list[str]] = {}

    def together(self, key: str) -> Iterator[str]:
        """A response and those that are equal to it."""
        yield key
        for other in self._equal.get(key, ()):
            yield from self.together(other)

    def sorted(self, keys: list[str]) -> list[str]:
        """One of each group, the worst first."""
        if len(keys) < 2:
            return keys
        worse_of: dict[str, str] = {}
        single = keys[-1:] if len(keys) % 2 else []
        for first, second in zip(keys[::2], keys[1::2], strict=False):
            verdict = self._compared(first, second)
            if verdict == 0:
                single.append(self._joined(first, second))
            else:
                better, worse = (first, second) if verdict > 0 else (second, first)
                worse_of[better] = worse
        chain = self.sorted(list(worse_of))
        # Two better ones may have turned out equal: then the worse of both are inserted below one of them.
        pending = [
            (worse_of[key], standing)
            for standing in chain
            for key in self.together(standing)
            if key in worse_of
        ]
        if pending and not self._equal.get(chain[0]):
            chain.insert(0, pending.pop(0)[0])  # worse than the worst of the better: nothing to ask
        bounds: list[tuple[str, str | None]] = [*pending, *((key, None) for key in single)]
        for worse, bound in _in_turn(bounds):
            self._insert(chain, worse, len(chain) if bound is None else chain.index(bound))
        return chain

    def _insert(self, chain: list[str], key: str, high: int) -> None:
        """Among the first `high` of the chain, by halving."""
        low = 0
        while low < high:
            middle = (low + high) // 2
            verdict = self._compared(key, chain[middle])
            if verdict == 0:
                self._joined(chain[middle], key)
                return
            low, high = (middle + 1, high) if verdict > 0 else (low, middle)
        chain.insert(low, key)

    def _joined(self, key: str, other: str) -> str:
        self._equal.setdefault(key, []).append(other)
        return key

    def _compared(self, first: str, second: str) -> int:
        """1: the first is better.  Raises `_OpenError` where nobody has said."""
        if (first, second) in self._known:
            return self._known[first, second]
        if (second, first) in self._known:
            return -self._known[second, first]
        raise _OpenError(first, second)


def _in_turn(pending: list[tuple[str, str | None]]) -> Iterator[tuple[str, str | None]]:
    """Ford and Johnson's sequence 3, 2; 5, 4; 11, 10, …: each batch from its last to its first.

    The one numbered 1 stands in the chain already.
    """
    batches, size = [], 2
    start = 0
    while start < len(pending):
        batches.append(pending[start : start + size])
        start += size
        size = 2 ** (len(batches) + 1) - size  # 2, 2, 6, 10, 22, …
    for batch in batches:
        yield from reversed(batch)
