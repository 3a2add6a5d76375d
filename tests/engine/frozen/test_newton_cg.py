"""Davidson's likelihood: slopes by differences, its limits, and a naive minimum."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.frozen.comparisons import stacked
from engine.frozen.newton_cg import ETA_RIDGE, Problems

seeds = st.integers(0, 10_000)
few = settings(max_examples=20, deadline=None)


def problem(seed: int, *, ties: bool, B: int = 2) -> tuple[Problems, np.random.Generator]:
    draw = np.random.default_rng(seed)
    M, r = 9, 4
    votes = draw.integers(0, 3, size=(M, 3)) + np.array([1, 0, 0])
    c = stacked([(m, 0, 1, win, loss, tie * ties) for m, (win, loss, tie) in enumerate(votes)])
    D = draw.normal(size=(M, r))
    spread = np.square(D).sum(axis=0)
    return Problems(D, spread, c, draw.uniform(0.2, 2, (M, B)), draw.uniform(0.1, 2, B)), draw


def value(p: Problems, v: np.ndarray, eta: np.ndarray) -> np.ndarray:
    return p._at(v, eta, p._D @ v).value


@given(seeds, st.booleans())
@few
def test_slopes_and_curvatures_are_the_differences_of_the_value(seed: int, ties: bool) -> None:
    p, draw = problem(seed, ties=ties)
    v, eta = draw.normal(size=(4, 2)), draw.normal(size=2) if ties else np.full(2, -np.inf)
    state, h = p._at(v, eta, p._D @ v), 1e-5
    slope = p._D.T @ state.slope + p._strength * v
    for i in range(4):
        step = np.zeros((4, 2))
        step[i] = h
        difference = (value(p, v + step, eta) - value(p, v - step, eta)) / (2 * h)
        np.testing.assert_allclose(slope[i], difference, atol=1e-6)
    if ties:
        np.testing.assert_allclose(
            state.eta_slope, (value(p, v, eta + h) - value(p, v, eta - h)) / (2 * h), atol=1e-6
        )
        up, down = (p._at(v, eta + s * h, p._D @ v) for s in (1, -1))
        np.testing.assert_allclose(state.eta_curve, (up.eta_slope - down.eta_slope) / (2 * h), atol=1e-6)
        np.testing.assert_allclose(state.cross, (up.slope - down.slope) / (2 * h), atol=1e-6)
    d = p._D @ v
    up, down = (p._at(v, eta, d + s * h) for s in (1, -1))
    np.testing.assert_allclose(state.curve, (up.slope - down.slope) / (2 * h), atol=1e-6)


@given(seeds, st.booleans())
@few
def test_the_solution_has_no_slope_and_columns_do_not_touch(seed: int, ties: bool) -> None:
    p, _ = problem(seed, ties=ties)
    found = p.solve(1e-9)
    eta = np.log(found.nu) if ties else np.full(2, -np.inf)
    state = p._at(found.v, eta, p._D @ found.v)
    assert np.abs(p._D.T @ state.slope + p._strength * found.v).max() < 1e-5
    assert np.abs(state.eta_slope).max() < 1e-5


def test_chances_sum_to_one_and_ties_vanish_with_nu() -> None:
    """The three likelihoods e^−nll of one pair sum to 1; without ν it is the logistic loss."""
    d, strength = np.array([[1.7]]), np.zeros(1)
    for eta in (-1.0, 0.5):
        losses = [
            Problems(d, np.ones(1), stacked([(0, 0, 1, *votes)]), np.ones((1, 1)), strength)
            for votes in ((1, 0, 1e-9), (0, 1, 1e-9), (0, 0, 1))
        ]
        free = [
            float(p._at(np.ones((1, 1)), np.full(1, eta), d).value[0]) - 0.5 * ETA_RIDGE * eta**2
            for p in losses
        ]
        assert abs(sum(np.exp(-np.array(free))) - 1) < 1e-6
    plain = Problems(d, np.ones(1), stacked([(0, 0, 1, 1, 0, 0)]), np.ones((1, 1)), strength)
    found = plain._at(np.ones((1, 1)), np.full(1, -np.inf), d).value[0]
    assert abs(found - np.log1p(np.exp(-1.7))) < 1e-12


def test_ties_draw_scores_together() -> None:
    """The more often two responses tie, the smaller the difference that is learned."""
    margins = []
    for ties in (0, 4, 40):
        c = stacked([(0, 0, 1, 5, 1, ties), (1, 0, 1, 6, 0, 0)])
        D = np.array([[1.0, 0.0], [0.0, 1.0]])
        found = Problems(D, np.ones(2), c, np.ones((2, 1)), np.full(1, 0.1)).solve()
        margins.append(float(found.v[0, 0]))
    assert margins[0] > margins[1] > margins[2] > 0


def test_extreme_margins_stay_finite() -> None:
    c = stacked([(0, 0, 1, 1000, 0, 1), (1, 0, 1, 1, 0, 0)])
    D = np.array([[1e3, 0.0], [0.0, 1e-3]])
    found = Problems(D, np.square(D).sum(axis=0), c, np.ones((2, 1)), np.full(1, 1e-6)).solve()
    assert np.isfinite(found.v).all()
    assert np.isfinite(found.nu).all()
