"""Steps of a response: cut, joined, and found among tokens."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine.steps
from engine.steps import cut_at, step_ends, steps_in, steps_of, token_ends

TEXTS = st.text(alphabet=st.sampled_from("ab \n\t;é🤦"), max_size=60)
SEPARATORS = st.sampled_from(["\n", "\n\n", ";", " ", "ab"])


@given(TEXTS, SEPARATORS)
def test_the_steps_joined_are_the_text(text: str, separator: str) -> None:
    steps = steps_of(text, separator)
    assert "".join(steps) == text
    assert cut_at(text, step_ends(text, separator)) == steps
    assert len(steps) >= 1


@given(TEXTS, SEPARATORS)
def test_every_step_says_something_and_all_but_the_last_end_with_a_separator(
    text: str, separator: str
) -> None:
    steps = steps_of(text, separator)
    if len(steps) > 1:
        assert all(step.strip() for step in steps)
    assert all(separator in step for step in steps[:-1])
    assert all(step.replace(separator, "").strip() for step in steps if len(steps) > 1)


def test_lines_are_steps_whatever_blank_lines_lie_between() -> None:
    assert steps_of("one\n\n \ntwo\nthree\n") == ["one\n\n \n", "two\n", "three\n"]
    assert steps_of("\n\none") == ["\n\none"]
    assert steps_of("") == [""]
    with pytest.raises(ValueError, match="separator"):
        steps_of("a", "")


@given(st.lists(st.text(alphabet="ab\né", max_size=4), min_size=1, max_size=20))
def test_a_step_ends_in_the_token_that_holds_its_last_character(pieces: list[str]) -> None:
    text = "".join(pieces)
    ends = step_ends(text)
    found = token_ends([*pieces, "<end>"], ends)
    assert found == sorted(found)
    assert found[-1] == len(pieces)
    for end, token in zip(ends[:-1], found[:-1], strict=True):
        before = len("".join(pieces[:token]))
        assert before < end <= before + len(pieces[token])


def test_steps_beyond_a_cut_share_the_last_token() -> None:
    assert token_ends(["a\n", "<end>"], [2, 9, 12]) == [0, 1, 1]


def test_the_examples_hold() -> None:
    assert doctest.testmod(engine.steps).failed == 0


def test_the_token_that_ends_the_turn_is_no_text() -> None:
    found = steps_in(["a", "\nb", "c", "<end>\n"])
    assert found == ([2, 4], [1, 3])
