"""Intervals and errors against their definitions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.services.statistics import Z_95, mean_and_error, wilson_interval


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_ends_solve_the_score_equation(counts: tuple[int, int]) -> None:
    """At each end p the observed share lies exactly z standard errors √(p(1−p)/n) away."""
    successes, trials = counts
    share = successes / trials
    for end in wilson_interval(successes, trials):
        assert 0 <= end <= 1
        if 1e-9 < end < 1 - 1e-9:  # the ends at 0 and 1 are exact only up to rounding
            assert abs(share - end) == pytest.approx(Z_95 * math.sqrt(end * (1 - end) / trials), abs=1e-9)


def test_wilson_knows_nothing_without_trials() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_wilson_narrows_with_trials_like_the_normal_interval() -> None:
    low, high = wilson_interval(600_000, 1_000_000)
    half = Z_95 * math.sqrt(0.6 * 0.4 / 1_000_000)
    assert (low, high) == pytest.approx((0.6 - half, 0.6 + half), abs=1e-6)


def test_standard_error_of_known_values() -> None:
    mean, error = mean_and_error([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5
    assert error == pytest.approx(math.sqrt(5 / 3) / 2)
    assert math.isnan(mean_and_error([])[0])
    assert math.isnan(mean_and_error([1.0])[1])
