"""Orders and choices of responses as people write them: “B > A = C”, “B”, “response_2”, a policy's name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from storage.interchange.mapping.cells import missing, number_of, truth_of

_BETWEEN = re.compile(r"\s*(>+|[=≈~])\s*")
_ITEM = re.compile(
    r"^\W*(?:response|model|answer|assistant|option|output|completion|summary|candidate|system)?[\s_#]*"
    r"([a-z]|\d{1,3})\W*$",
    re.IGNORECASE,
)


def order_of(text: str, length: int) -> list[float] | None:
    """The rank of each of `length` responses; None where the text does not name each of them once."""
    parts = _BETWEEN.split(text.strip())
    named = [_ITEM.match(part) for part in parts[::2]]
    if length < 2 or len(named) != length or not all(named):
        return None
    words = [match[1].lower() for match in named if match]
    from_zero = "0" in words
    ranks: dict[int, float] = {}
    rank = 1.0
    for place, word in enumerate(words):
        if place and parts[2 * place - 1].startswith(">"):
            rank += 1
        ranks[_place(word, from_zero)] = rank
    return [ranks[n] for n in range(length)] if set(ranks) == set(range(length)) else None


def ranks_of_order(order: Sequence[float | None]) -> list[float | None] | None:
    """[2, 0, 1], the third is the best, as the rank of each: [2, 3, 1]; None where it is no order."""
    first = 0 if 0 in order else 1
    if {None if n is None else n - first for n in order} != set(range(len(order))):
        return None
    ranks: list[float | None] = [None] * len(order)
    for rank, place in enumerate(order, 1):
        ranks[int(place or 0) - first] = float(rank)
    return ranks


def reads_both_ways(rows: Sequence[Sequence[float | None]]) -> bool:
    """Whether lists of numbers can be ranks and orders, and say different things as each."""
    turned = [ranks_of_order(row) for row in rows]
    if not rows or None in turned:
        return False
    return any(
        [n - min(row) for n in row if n is not None] != [n - 1 for n in other or () if n is not None]  # type: ignore[type-var, operator]
        for row, other in zip(rows, turned, strict=True)
    )


def chosen_place(
    value: str, length: int, columns: Sequence[str], policies: Sequence[str | None]
) -> int | None:
    """The place of the one that is named: by its column, its policy, its letter or its number from 1."""
    for names in (columns, policies):
        if names.count(value) == 1:
            return names.index(value)
    match = _ITEM.match(value)
    if match is None or (match[1].isdigit() and len(value.strip()) == len(match[1])):
        return None  # a bare number counts from 0, as the role says
    place = _place(match[1].lower(), False)
    return place if 0 <= place < length else None


def best_places(
    value: object, length: int, columns: Sequence[str], policies: Sequence[str | None]
) -> frozenset[int] | None:
    """The best of a list: its number from 0, letter or name, or for each whether it is one; else None."""
    if isinstance(value, list):
        return frozenset(place for place, flag in enumerate(value) if truth_of(flag) is True)
    if (number := number_of(value)) is not None:
        return frozenset((int(number),))
    if missing(value):
        return frozenset()
    place = chosen_place(str(value).strip(), length, columns, policies)
    return None if place is None else frozenset((place,))


def _place(word: str, from_zero: bool) -> int:
    return int(word) - (not from_zero) if word.isdigit() else ord(word) - ord("a")


def whole_ranks(ranks: list[float | None]) -> list[int | None]:
    """Ranks from 1: those that count from 0 are moved, means of ranks become places."""
    known = [r for r in ranks if r is not None]
    if not known:
        return [None] * len(ranks)
    if all(r == int(r) for r in known):
        move = max(1 - int(min(known)), 0)
        return [None if r is None else int(r) + move for r in ranks]
    return [None if r is None else 1 + sum(other < r for other in known) for r in ranks]


def said_of(response: str, rank: int | None, rating: float | None) -> str:
    """What a judgement says of a response, as part of its id; SQL makes the same of rows read as columns."""
    if rank is None or rating is None:
        return f"{response}={rating if rank is None else rank}"
    return f"{response}={rank}:{rating:.17g}"
