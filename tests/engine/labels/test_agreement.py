"""Figures of agreement against naive computations; intervals have width however few the prompts."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.labels.agreement import agreement, alpha, kappa, mean_tau

verdict = st.sampled_from((1, 0, -1))
units = st.lists(st.lists(verdict, min_size=2, max_size=4), min_size=1, max_size=8)


def naive_alpha(pairs: list[list[int]]) -> float:
    """Krippendorff's α by his coincidences, every pair also the other way round."""
    mirrored = pairs + [[-value for value in unit] for unit in pairs]
    coincidences: dict[tuple[int, int], float] = {}
    for unit in mirrored:
        for one, other in permutations(range(len(unit)), 2):
            key = (unit[one], unit[other])
            coincidences[key] = coincidences.get(key, 0.0) + 1 / (len(unit) - 1)
    n = sum(coincidences.values())
    margin = {c: sum(v for (a, _), v in coincidences.items() if a == c) for c in (1, 0, -1)}
    observed = sum(v * (a - b) ** 2 for (a, b), v in coincidences.items()) / n
    expected = sum(margin[a] * (margin[b] - (a == b)) * (a - b) ** 2 for a in margin for b in margin)
    return 1 - observed / (expected / (n * (n - 1))) if expected else float("nan")


@given(pairs=units)
def test_alpha_is_that_of_coincidences(pairs: list[list[int]]) -> None:
    observed = [sum((a - b) ** 2 for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in pairs]
    found = alpha(
        np.array(observed, dtype=float),
        np.array([len(unit) for unit in pairs], dtype=float),
        np.array([sum(v * v for v in unit) for unit in pairs], dtype=float),
    )
    expected = naive_alpha(pairs)
    assert found.value == pytest.approx(expected, nan_ok=True)
    if not np.isnan(expected):
        assert found.low <= found.value <= found.high
        assert found.low < found.high


@pytest.mark.parametrize("prompts", [1, 2, 30])
def test_perfect_agreement_has_an_interval_all_the_same(prompts: int) -> None:
    ones = np.ones(prompts)
    for found in (
        agreement(6 * ones, 6 * ones),
        kappa(6 * ones, 6 * ones, 0 * ones, 0 * ones),
        mean_tau(ones),
        alpha(0 * ones, 12 * ones, 12 * ones),
    ):
        assert found.value == 1 == found.high
        assert found.low == pytest.approx(1 - 1 / (prompts + 1), abs=0.6 / (prompts + 1))
        assert found.low < 1


def test_more_prompts_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    few, many = (agreement(rng.integers(0, 3, n) / 2, np.ones(n)) for n in (8, 800))
    assert many.high - many.low < few.high - few.low


def test_nothing_shared_tells_nothing() -> None:
    found = mean_tau(np.array([np.nan, np.nan]))
    assert np.isnan(found.value)
    assert found.prompts == 0
