"""Measures of agreement between scores and judgements."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.objectives.preference import accuracy, correlation, kendall_tau, log_loss

small = st.lists(st.integers(-3, 3), min_size=2, max_size=7)


def test_a_constant_scorer_is_half_right() -> None:
    assert accuracy(torch.zeros(5)) == 0.5
    assert log_loss(torch.zeros(5)) == pytest.approx(math.log(2))


def test_accuracy_counts_ties_one_half() -> None:
    assert accuracy(torch.tensor([1.0, -1.0, 0.0, 2.0])) == 0.625


def test_without_pairs_there_is_no_number() -> None:
    assert math.isnan(accuracy(torch.tensor([])))
    assert math.isnan(log_loss(torch.tensor([])))


@given(small)
def test_accuracy_of_reversed_scores_is_the_rest(margins: list[int]) -> None:
    margin = torch.tensor(margins, dtype=torch.float32)
    assert accuracy(margin) + accuracy(-margin) == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), min_size=2, max_size=7))
def test_kendall_equals_two_loops(items: list[tuple[int, int]]) -> None:
    agree = score_pairs = rank_pairs = 0
    for (s, r), (t, q) in itertools.combinations(items, 2):
        by_score, by_rank = (s > t) - (s < t), (r < q) - (r > q)
        agree += by_score * by_rank
        score_pairs += abs(by_score)
        rank_pairs += abs(by_rank)
    found = kendall_tau(torch.tensor([float(s) for s, _ in items]), torch.tensor([r for _, r in items]))
    if score_pairs * rank_pairs == 0:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(agree / math.sqrt(score_pairs * rank_pairs))


def test_kendall_limits() -> None:
    scores, ranks = torch.tensor([3.0, 2.0, 1.0]), torch.tensor([1, 2, 3])
    assert kendall_tau(scores, ranks) == pytest.approx(1)
    assert kendall_tau(-scores, ranks) == pytest.approx(-1)


def test_correlation() -> None:
    x = torch.tensor([1.0, 2.0, 4.0])
    assert correlation(x, 3 * x - 1) == pytest.approx(1)
    assert correlation(x, -x) == pytest.approx(-1)
    assert math.isnan(correlation(x, torch.ones(3)))
    assert math.isnan(correlation(x[:1], x[:1]))
