"""Best-of-n by counting subsets."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.objectives.best_of import best_of, kl_bound, subset_sizes


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=7), st.data())
def test_it_is_the_mean_over_all_subsets(proxy: list[int], data: st.DataObject) -> None:
    value = data.draw(st.lists(st.floats(-5, 5, width=32), min_size=len(proxy), max_size=len(proxy)))
    n = data.draw(st.integers(1, len(proxy)))
    total = 0.0
    subsets = list(itertools.combinations(range(len(proxy)), n))
    for subset in subsets:
        best = max(proxy[i] for i in subset)
        winners = [value[i] for i in subset if proxy[i] == best]
        total += sum(winners) / len(winners)
    found = best_of(torch.tensor(proxy, dtype=torch.float32), torch.tensor(value), n)
    assert found == pytest.approx(total / len(subsets), abs=1e-5)


def test_of_one_it_is_the_mean_and_of_all_the_best() -> None:
    proxy, gold = torch.tensor([0.1, 3.0, 2.0, -1.0]), torch.tensor([1.0, 7.0, 4.0, 2.0])
    assert best_of(proxy, gold, 1) == pytest.approx(3.5)
    assert best_of(proxy, gold, 4) == pytest.approx(7.0)
    assert best_of(torch.ones(4), gold, 3) == pytest.approx(3.5)  # a proxy that cannot choose


def test_many_samples_do_not_overflow() -> None:
    scores = torch.arange(1024.0)
    assert best_of(scores, scores, 512) == pytest.approx(512 * 1025 / 513 - 1, rel=1e-6)


def test_the_bound_of_the_kl() -> None:
    assert kl_bound(1) == 0
    assert kl_bound(4) == pytest.approx(math.log(4) - 0.75)
    # exact for distinct rewards over many outcomes: the density of the best of n is n·F^(n−1)
    u = (torch.arange(200000, dtype=torch.float64) + 0.5) / 200000
    density = 8 * u**7
    assert float((density * density.log()).mean()) == pytest.approx(kl_bound(8), abs=1e-4)


def test_sizes_double_up_to_all() -> None:
    assert subset_sizes(1) == [1]
    assert subset_sizes(8) == [1, 2, 4, 8]
    assert subset_sizes(12) == [1, 2, 4, 8, 12]


def test_more_than_all_cannot_be_told() -> None:
    with pytest.raises(ValueError, match="best of 3"):
        best_of(torch.zeros(2), torch.zeros(2), 3)
