"""KTO: values, weights, limits, gradient."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.objectives.unpaired import kahneman_tversky, mismatched_kl

RATIO = st.floats(-20, 20)


@given(RATIO, st.booleans(), st.floats(0, 5), st.floats(0.02, 1), st.floats(0.3, 2))
def test_kto_is_the_naive_formula_with_its_gradient(
    ratio: float, good: bool, kl: float, beta: float, weight: float
) -> None:
    r = torch.tensor([ratio], dtype=torch.float64, requires_grad=True)
    loss = kahneman_tversky(
        r, torch.tensor([good]), kl, beta=beta, desirable_weight=weight, undesirable_weight=2 * weight
    )
    sign, lam = (1, weight) if good else (-1, 2 * weight)
    value = lam / (1 + math.exp(-sign * beta * (ratio - kl)))
    assert float(loss.detach()) == pytest.approx(lam - value, rel=1e-9, abs=1e-12)
    (slope,) = torch.autograd.grad(loss.sum(), r)
    assert float(slope) == pytest.approx(-sign * beta * value * (1 - value / lam), rel=1e-6, abs=1e-12)


@given(st.lists(RATIO, min_size=1, max_size=8))
def test_the_point_of_reference_is_a_mean_never_below_zero_and_without_gradient(ratios: list[float]) -> None:
    r = torch.tensor(ratios, dtype=torch.float64, requires_grad=True)
    found = mismatched_kl(r)
    assert float(found) == pytest.approx(max(0.0, sum(ratios) / len(ratios)), abs=1e-9)
    assert not found.requires_grad


def test_what_cannot_be_learned_has_next_to_no_gradient() -> None:
    """Of a desirable response that has become far less likely: an outlier (arXiv 2402.01306, prop. 4.1)."""
    r = torch.tensor([-400.0, 0.0], requires_grad=True)
    kahneman_tversky(r, torch.tensor([True, True]), 0.0, beta=0.1).sum().backward()
    assert r.grad is not None
    assert abs(float(r.grad[0])) < 1e-12 < abs(float(r.grad[1]))
