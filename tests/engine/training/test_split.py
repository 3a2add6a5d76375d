"""Which prompts are held out: a seeded share, or what the table says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.training.split import heldout_prompts

prompts = st.sets(st.text("abc", min_size=1, max_size=4), max_size=12)


@given(prompts, st.floats(0, 0.99), st.integers(0, 9))
def test_a_share_is_held_out_and_something_is_left(known: set[str], holdout: float, seed: int) -> None:
    out = heldout_prompts(known, holdout=holdout, seed=seed)
    assert out == heldout_prompts(sorted(known, reverse=True), holdout=holdout, seed=seed)
    assert out <= known
    assert len(out) < len(known) or len(known) < 2
    if holdout > 0 and len(known) > 1:
        assert abs(len(out) - holdout * len(known)) <= 1


@given(prompts, st.integers(0, 9))
def test_more_are_held_out_by_adding_to_the_same(known: set[str], seed: int) -> None:
    """A larger share keeps what a smaller one held out, so that runs can be compared."""
    assert heldout_prompts(known, holdout=0.2, seed=seed) <= heldout_prompts(known, holdout=0.5, seed=seed)


def test_what_the_table_says_goes_first() -> None:
    said = {"p": "heldout", "q": "train", "r": None}
    assert heldout_prompts("pqr", holdout=0.9, seed=0, said=said) == {"p"}
    assert heldout_prompts("pqr", holdout=0.0, seed=0, said={"p": None}) == set()
