from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.labels.davidson import chances, log_chance, slopes

number = st.floats(-6, 6)


@given(eta=number, t=number, verdict=st.sampled_from((1, 0, -1)))
def test_slopes_are_those_of_differences(eta: float, t: float, verdict: int) -> None:
    def value(a: float, b: float) -> float:
        return float(log_chance(np.array(a), np.array(b), np.array(verdict)))

    found = slopes(np.array(eta), np.array(t), np.array(verdict))
    h = 1e-4
    assert found.value == pytest.approx(value(eta, t))
    assert found.eta == pytest.approx((value(eta + h, t) - value(eta - h, t)) / (2 * h), abs=1e-6)
    assert found.tie == pytest.approx((value(eta, t + h) - value(eta, t - h)) / (2 * h), abs=1e-6)
    second = (value(eta + h, t) - 2 * value(eta, t) + value(eta - h, t)) / h**2
    assert found.eta_eta == pytest.approx(-second, abs=1e-5)
    second = (value(eta, t + h) - 2 * value(eta, t) + value(eta, t - h)) / h**2
    assert found.tie_tie == pytest.approx(-second, abs=1e-5)
    mixed = value(eta + h, t + h) - value(eta + h, t - h) - value(eta - h, t + h) + value(eta - h, t - h)
    assert found.eta_tie == pytest.approx(-mixed / (4 * h * h), abs=1e-5)


@given(eta=st.floats(-800, 800), t=st.floats(-800, 800))
def test_chances_add_up_and_mirror(eta: float, t: float) -> None:
    win, tie, loss = (float(p) for p in chances(np.array(eta), np.array(t)))
    assert win + tie + loss == pytest.approx(1)
    assert chances(np.array(-eta), np.array(t))[0] == pytest.approx(loss)


def test_without_ties_it_is_bradley_terry() -> None:
    win, tie, _ = chances(np.array([2.0]), np.array([-np.inf]))
    assert win[0] == pytest.approx(1 / (1 + np.exp(-2)))
    assert tie[0] == 0
