"""Words shared and own; the pieces are the texts."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from workbench.services.text_diff import word_diff


@given(st.text(max_size=200), st.text(max_size=200))
def test_the_pieces_of_each_side_join_to_its_text(old: str, new: str) -> None:
    found = word_diff(old, new)
    assert "".join(p.text for p in found.old) == old
    assert "".join(p.text for p in found.new) == new
    shared = ["".join(p.text for p in side if not p.own) for side in (found.old, found.new)]
    assert shared[0] == shared[1]
    assert 0 <= found.likeness <= 1


def test_one_word_changed() -> None:
    found = word_diff("Water it once a week.", "Water it twice a week.")
    assert [p.text for p in found.old if p.own] == ["once"]
    assert [p.text for p in found.new if p.own] == ["twice"]
    assert found.likeness == 5 / 6
    assert word_diff("same", "same").likeness == word_diff("", "").likeness == 1.0
    assert word_diff("a b", "c d").likeness == 0.0


def test_long_texts_are_compared_in_bounded_time() -> None:
    started = time.perf_counter()
    found = word_diff("a b " * 20_000, "b a " * 20_000)
    assert time.perf_counter() - started < 5
    assert len("".join(p.text for p in found.new)) == 80_000
