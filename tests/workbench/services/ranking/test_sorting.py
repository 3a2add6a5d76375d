"""Sorting by pairs: the order is the true one, with never more questions than merge insertion needs."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.services.ranking.sorting import Answer, answers_for, most_comparisons, sorting

NAMES = [f"r{n:02d}" for n in range(26)]


def asked(ranks: dict[str, int]) -> tuple[list[Answer], tuple[tuple[str, ...], ...]]:
    """Every question answered by known ranks, and the order in the end."""
    answers: list[Answer] = []
    while (found := sorting(list(ranks), answers)).question is not None:
        first, second = found.question
        assert (first, second) not in [answer[:2] for answer in answers]
        assert found.left >= 1
        better = (ranks[second] > ranks[first]) - (ranks[second] < ranks[first])
        answers.append((first, second, better))
    return answers, found.groups


def groups_of(ranks: dict[str, int]) -> list[set[str]]:
    return [{key for key, r in ranks.items() if r == rank} for rank in sorted(set(ranks.values()))]


@given(st.permutations(list(range(1, 20))))
def test_the_order_is_the_true_one(order: list[int]) -> None:
    ranks = dict(zip(NAMES, order, strict=False))
    answers, groups = asked(ranks)
    assert [set(group) for group in groups] == groups_of(ranks)
    assert len(answers) <= most_comparisons(len(order))


@pytest.mark.parametrize("count", range(1, 7))
def test_no_order_takes_more_than_the_bound_and_one_takes_it(count: int) -> None:
    """Of every order of a few: the bound of Ford and Johnson, which is the best possible up to 11."""
    taken = {len(asked(dict(zip(NAMES, order, strict=False)))[0]) for order in permutations(range(count))}
    assert max(taken) == most_comparisons(count)


def test_the_bound_is_knuth_s() -> None:
    assert [most_comparisons(n) for n in range(1, 13)] == [0, 1, 3, 5, 7, 10, 13, 16, 19, 22, 26, 30]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=14))
def test_equal_ones_stay_together(drawn: list[int]) -> None:
    ranks = dict(zip(NAMES, drawn, strict=False))
    answers, groups = asked(ranks)
    assert [set(group) for group in groups] == groups_of(ranks)
    assert len(answers) <= most_comparisons(len(drawn)) + len(drawn)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=12))
def test_a_known_order_says_what_was_answered(drawn: list[int]) -> None:
    ranks = dict(zip(NAMES, drawn, strict=False))
    answers = answers_for(list(ranks), ranks)
    assert list(answers) == asked(ranks)[0]
    assert sorting(list(ranks), answers).question is None
    assert sorting(list(ranks), answers[:-1]).question is not None or not answers
