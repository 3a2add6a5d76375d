"""Direct preference losses: analytic gradients, minima, limits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.objectives.direct import direct_preference, length_offset

RATIO = st.floats(-20, 20, width=32)


@settings(deadline=None)
@given(RATIO, RATIO, st.floats(0.01, 2), st.floats(0, 0.4))
def test_sigmoid_is_the_naive_formula_with_the_analytic_gradient(
    winner: float, loser: float, beta: float, smoothing: float
) -> None:
    w = torch.tensor([winner], dtype=torch.float64, requires_grad=True)
    loss = direct_preference(w, torch.tensor([loser]).double(), beta=beta, label_smoothing=smoothing)
    logit = beta * (float(w.detach()) - loser)
    sigma = 1 / (1 + math.exp(-logit))
    naive = -(1 - smoothing) * math.log(sigma) - smoothing * math.log1p(-sigma) if abs(logit) < 15 else None
    if naive is not None:
        assert float(loss.detach()) == pytest.approx(naive, rel=1e-6, abs=1e-9)
    loss.sum().backward()
    assert w.grad is not None
    # DPO, arXiv 2305.18290, §4: β(σ(−βh)) pulls the winner up; smoothing pushes back with ε
    expected = -beta * ((1 - smoothing) * (1 - sigma) - smoothing * sigma)
    assert float(w.grad) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@settings(deadline=None)
@given(st.floats(0.05, 2))
def test_ipo_is_least_at_a_margin_of_one_over_two_beta(beta: float) -> None:
    margin = torch.tensor([1 / (2 * beta)], dtype=torch.float64, requires_grad=True)
    loss = direct_preference(margin, torch.zeros(1).double(), beta=beta, loss="ipo")
    loss.sum().backward()
    assert float(loss.detach()) == pytest.approx(0, abs=1e-12)
    assert margin.grad is not None
    assert float(margin.grad) == pytest.approx(0, abs=1e-9)
    for other in (-1.0, 0.0, 1 / (2 * beta) + 1):
        moved = direct_preference(torch.tensor([other]), torch.zeros(1), beta=beta, loss="ipo")
        assert float(moved) > 0


def test_smoothing_gives_the_sigmoid_a_finite_minimum() -> None:
    margins = torch.linspace(-5, 40, 4501, dtype=torch.float64)
    loss = direct_preference(margins, torch.zeros_like(margins), beta=0.5, label_smoothing=0.1)
    assert float(margins[loss.argmin()]) == pytest.approx(math.log(0.9 / 0.1) / 0.5, abs=0.01)
    plain = direct_preference(margins, torch.zeros_like(margins), beta=0.5)
    assert int(plain.argmin()) == len(margins) - 1


def test_large_margins_stay_finite_where_the_naive_formula_does_not() -> None:
    loss = direct_preference(torch.tensor([0.0, 2000.0]), torch.tensor([2000.0, 0.0]), beta=1.0)
    assert loss.tolist() == [2000.0, 0.0]


def test_of_the_reference_itself_the_loss_is_log_two() -> None:
    assert float(direct_preference(torch.zeros(1), torch.zeros(1), beta=0.1)) == pytest.approx(math.log(2))


@given(RATIO, RATIO, st.floats(0.01, 2), st.floats(0.01, 0.45))
def test_the_robust_loss_is_unbiased_over_flipped_labels(
    winner: float, loser: float, beta: float, wrong: float
) -> None:
    """arXiv 2403.00409, lemma 3.1: the mean over labels flipped with probability ε is that of the true."""
    w, lose = torch.tensor([winner]).double(), torch.tensor([loser]).double()

    def robust(one: torch.Tensor, other: torch.Tensor) -> float:
        return float(direct_preference(one, other, beta=beta, loss="robust", label_smoothing=wrong))

    mean = (1 - wrong) * robust(w, lose) + wrong * robust(lose, w)
    assert mean == pytest.approx(float(direct_preference(w, lose, beta=beta)), rel=1e-6, abs=1e-9)


@given(RATIO, RATIO, st.integers(1, 200), st.integers(1, 200), st.floats(0, 0.1))
def test_length_takes_from_a_longer_winner_what_there_is_to_learn(
    winner: float, loser: float, w_tokens: int, l_tokens: int, penalty: float
) -> None:
    w = torch.tensor([winner], dtype=torch.float64, requires_grad=True)
    offset = length_offset(torch.tensor([w_tokens]), torch.tensor([l_tokens]), penalty=penalty)
    loss = direct_preference(w, torch.tensor([loser]).double(), beta=0.1, offset_M=offset)
    # the reward is β·ratio + α·length of each response by itself
    margin = 0.1 * (winner - loser) + penalty * (w_tokens - l_tokens)
    assert float(loss.detach()) == pytest.approx(math.log1p(math.exp(-margin)), rel=1e-5, abs=1e-6)
    (slope,) = torch.autograd.grad(loss.sum(), w)
    assert float(slope) == pytest.approx(-0.1 / (1 + math.exp(margin)), rel=1e-4, abs=1e-9)
