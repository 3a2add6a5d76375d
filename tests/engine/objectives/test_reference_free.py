"""SimPO, CPO and ORPO: naive twins, limits, gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.objectives.direct import direct_preference
from engine.objectives.reference_free import contrastive_preference, log_odds, odds_ratio, simple_preference

MEAN = st.floats(-8, -1e-3)
SCALE = st.floats(0.05, 5)


def double(x: float) -> torch.Tensor:
    return torch.tensor([x], dtype=torch.float64, requires_grad=True)


@given(MEAN, MEAN, SCALE, st.floats(0, 3))
def test_simpo_is_the_naive_formula_and_half_at_its_margin(
    winner: float, loser: float, beta: float, gamma: float
) -> None:
    loss = simple_preference(double(winner), double(loser), beta=beta, gamma=gamma)
    naive = math.log1p(math.exp(gamma - beta * (winner - loser)))
    assert float(loss.detach()) == pytest.approx(naive, rel=1e-9)
    at_margin = simple_preference(double(loser + gamma / beta), double(loser), beta=beta, gamma=gamma)
    assert float(at_margin.detach()) == pytest.approx(math.log(2), rel=1e-6)


@given(MEAN, MEAN, SCALE)
def test_cpo_is_dpo_of_a_uniform_reference(winner: float, loser: float, beta: float) -> None:
    own = contrastive_preference(double(winner), double(loser), beta=beta)
    uniform = -3.0
    dpo = direct_preference(double(winner - uniform), double(loser - uniform), beta=beta)
    assert float(own.detach()) == pytest.approx(float(dpo.detach()), rel=1e-9)


@given(MEAN, MEAN)
def test_orpo_is_the_naive_formula_with_the_papers_gradient(winner: float, loser: float) -> None:
    w, lose = double(winner), double(loser)
    loss = odds_ratio(w, lose)
    odds = [math.exp(x) / -math.expm1(x) for x in (winner, loser)]
    naive = math.log1p(odds[1] / odds[0])
    assert float(loss.detach()) == pytest.approx(naive, rel=1e-6, abs=1e-12)
    slope_w, slope_l = torch.autograd.grad(loss.sum(), (w, lose))
    # arXiv 2403.07691, eq. 9 and 10: δ = 1/(1 + odds(w)/odds(l)), h = ∇log P(w)/(1 − P(w)) − the loser's
    share = 1 / (1 + odds[0] / odds[1])
    assert float(slope_w) == pytest.approx(-share / -math.expm1(winner), rel=1e-5, abs=1e-12)
    assert float(slope_l) == pytest.approx(share / -math.expm1(loser), rel=1e-5, abs=1e-12)


def test_odds_keep_their_digits_on_both_sides_and_stay_finite_at_certainty() -> None:
    means = torch.tensor([-1e-5, -0.6931, -0.6932, -30.0])
    exact = [x - math.log(-math.expm1(x)) for x in means.double().tolist()]
    assert log_odds(means).tolist() == pytest.approx(exact, rel=1e-5, abs=1e-5)
    certain = torch.zeros(1, requires_grad=True)
    odds_ratio(certain, torch.tensor([-1.0])).sum().backward()
    assert certain.grad is not None
    assert torch.isfinite(certain.grad).all()
