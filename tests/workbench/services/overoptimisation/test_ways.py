"""Fits of the scaling laws: exact on noiseless data, peaks where the formulas have them."""

from __future__ import annotations

import math
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from storage import runs
from storage.store import Store
from workbench.services.overoptimisation.fits import Fit, Method, find_peak, fit
from workbench.services.overoptimisation.ways import Overoptimisation

METHODS: tuple[Method, ...] = ("best of n", "policy learning")
coefficients = st.floats(-5, 5, allow_nan=False)
distances = st.lists(st.floats(0.1, 10), min_size=4, max_size=30, unique_by=lambda d: round(d, 1))


@given(st.sampled_from(METHODS), coefficients, coefficients, coefficients, distances)
def test_a_fit_recovers_the_coefficients_of_noiseless_data(
    method: Method, alpha: float, beta: float, origin: float, ds: list[float]
) -> None:
    truth = Fit(method, alpha, beta, origin, len(ds), 0.0)
    found = fit(method, [(0.0, truth.at(0.0)), *((d, truth.at(d)) for d in ds)])
    assert found is not None
    size = 1 + abs(alpha) + abs(beta) + abs(origin)
    for name in ("alpha", "beta", "origin"):
        assert getattr(found, name) == pytest.approx(getattr(truth, name), abs=1e-5 * size)
    assert found.error < 1e-6 * size * 100


@given(st.sampled_from(METHODS), st.floats(0.05, 4), st.floats(0.05, 4))
def test_no_distance_beats_the_peak(method: Method, alpha: float, beta: float) -> None:
    curve = Fit(method, alpha, beta, 0.3, 9, 0.0)
    peak = curve.peak
    if peak is not None:
        best = curve.at(peak)
        for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
            assert curve.at(peak * factor) <= best + 1e-9 * (1 + abs(best))


def test_peaks_in_closed_form() -> None:
    best_of_n, learned = Fit("best of n", 2, 0.5, 0, 9, 0), Fit("policy learning", 2, 0.5, 0, 9, 0)
    assert best_of_n.peak == pytest.approx(2.0)
    assert best_of_n.at(2.0) == pytest.approx(2**2 / (4 * 0.5))
    assert learned.peak == pytest.approx(math.exp(3))
    assert learned.at(math.exp(3)) == pytest.approx(0.5 * math.exp(3))
    assert Fit("best of n", 2, -0.1, 0, 9, 0).peak is None
    assert Fit("policy learning", 60, 0.01, 0, 9, 0).peak is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 400.0])
def test_what_another_processor_rounds_otherwise_is_not_in_a_fit(method: Method, scale: float) -> None:
    """Kernels add up in another order: scores that differ in their last bits have one fit, and no error."""
    truth = Fit(method, 1.0 * scale, 0.5 * scale, 0.2 * scale, 12, 0.0)
    exact = [(0.5 * n, truth.at(0.5 * n)) for n in range(12)]
    found = fit(method, exact)
    assert found is not None
    assert found.error == 0.0
    for sign in (1, -1):
        moved = [(d, score * (1 + sign * (-1) ** n * 3e-16)) for n, (d, score) in enumerate(exact)]
        assert fit(method, moved) == found


def test_too_few_distances_have_no_fit() -> None:
    assert fit("policy learning", [(0, 1), (1, 2), (1, 3)]) is None
    assert fit("best of n", []) is None
    assert fit("best of n", [(0, 1), (1, math.nan), (2, 3)]) is None
    assert fit("policy learning", [(0, 1), (0.5, 1), (1, 2)]) is not None


def test_the_peak_is_the_fits_within_the_data_and_else_the_best_point() -> None:
    curve = Fit("best of n", 2, 0.5, 0, 9, 0)
    inside = find_peak([(0, 0), (1, 1.5), (3, 1.5)], curve)
    assert inside is not None
    assert (inside.fitted, inside.passed, round(inside.d, 6)) == (True, True, 2.0)
    rising = find_peak([(0, 0), (1, 1.5)], curve)
    assert rising is not None
    assert (rising.fitted, rising.passed, rising.d) == (False, False, 1)
    assert find_peak([], curve) is None


def test_a_run_is_drawn_with_best_of_n_against_the_same_reward_model() -> None:
    now = datetime(2026, 3, 4)
    with Store.open(":memory:") as store:
        same = {"policy": "base", "reward_model": "rm", "name": "x"}
        runs.insert_run(store, "ppo-1", "ppo", same)
        runs.insert_run(store, "ppo-2", "ppo", same)
        for run_id, reward_model in (("bon-1", "rm"), ("bon-2", "other")):
            runs.insert_run(store, run_id, "best_of_n", {**same, "reward_model": reward_model})
            runs.update_run(store, run_id, status="done")
        curve = Fit("best of n", 1.0, 0.2, 0.5, 0, 0)
        rows = [
            ("bon-1", n, n, name, value, now)
            for n in (1, 2, 4, 8, 16)
            for kl in [math.log(n) - (n - 1) / n]
            for name, value in (("bon/kl", kl), ("bon/proxy", curve.at(math.sqrt(kl))))
        ]
        rows += [
            ("ppo-1", s, s, n, float(s), now)
            for s in (1, 2, 3)
            for n in ("policy/kl", "policy/score", "policy/gold")
        ]
        runs.insert_metrics(store, rows)
        service = Overoptimisation(store)
        learned, best_of_n = service.ways(["ppo-1", "ppo-1", "ppo-2"])
        assert (learned.run_id, best_of_n.run_id) == ("ppo-1", "bon-1")
        assert best_of_n.proxy_fit is not None
        assert best_of_n.proxy_fit.alpha == pytest.approx(1.0)
        assert best_of_n.proxy_fit.origin == pytest.approx(0.5)
        assert learned.peak is not None
        assert learned.farthest == pytest.approx(math.sqrt(3))
        assert [one.run_id for one in service.ways(["ppo-1"], with_best_of_n=False)] == ["ppo-1"]
        with pytest.raises(UsageError, match="measured no KL"):
            service.way("ppo-2")


def test_noise_makes_no_peak_where_the_curve_still_rises() -> None:
    curve = Fit("policy learning", 2, 0.1, 0, 9, 0)
    found = find_peak([(0, 0), (1, 2.1), (2, 3.9), (3, 3.8)], curve)
    assert found is not None
    assert (found.d, found.passed) == (2, False)
    unfitted = find_peak([(0, 0), (1, 2.1), (2, 1.0)], None)
    assert unfitted is not None
    assert (unfitted.d, unfitted.passed, unfitted.fitted) == (1, True, False)
