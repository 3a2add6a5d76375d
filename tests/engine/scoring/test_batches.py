"""Batches of the scorer: every text once, within the budget, and no cut of the sorted texts is cheaper."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from engine.scoring.batches import batches, cost, windows

texts = st.lists(st.tuples(st.integers(1, 300), st.integers(0, 200)), max_size=8)


def price(cut: list[list[int]], lengths: list[int], pasts: list[int]) -> float:
    return sum(
        cost(len(batch), max(lengths[i] for i in batch), max(pasts[i] for i in batch)) for batch in cut
    )


@given(texts, st.integers(1, 1200))
def test_the_cut_is_the_cheapest(some: list[tuple[int, int]], budget: int) -> None:
    lengths, pasts = [length for length, _ in some], [past for _, past in some]
    found = batches(lengths, pasts, budget)
    order = [index for batch in found for index in batch]
    assert sorted(order) == list(range(len(some)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
    cheapest = float("inf")
    for places in itertools.product((False, True), repeat=max(len(order) - 1, 0)):
        edges = [0, *(n + 1 for n, here in enumerate(places) if here), len(order)]
        cut = [order[begin:end] for begin, end in itertools.pairwise(edges) if end > begin]
        if all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= budget for b in cut):
            cheapest = min(cheapest, price(cut, lengths, pasts))
    assert price(found, lengths, pasts) <= cheapest + 1e-6


def test_short_texts_go_together_and_long_ones_alone() -> None:
    assert batches([10, 10, 10, 10], [0] * 4, 1024) == [[0, 1, 2, 3]]
    assert batches([900, 900], [0, 0], 1024) == [[0], [1]]
    assert batches([], [], 1024) == []


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(1, 100))
def test_windows_hold_what_fits(sizes: list[int], limit: int) -> None:
    found = windows(sizes, limit)
    assert sorted(index for window in found for index in window) == list(range(len(sizes)))
    for window in found:
        assert len(window) == 1 or sum(sizes[index] for index in window) <= limit
