"""Ranking losses: naive twins, analytic limits, gradients."""

import itertools
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.objectives.ranking import bradley_terry, pairs_of, plackett_luce

rankings = st.lists(st.integers(1, 4), min_size=2, max_size=6)
number = st.floats(-5, 5)


def scores_for(ranks: list[int], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(ranks), generator=generator, dtype=torch.float64)


def naive(scores: list[float], ranks: list[int], margin: float, smoothing: float, centring: float) -> float:
    total, count = 0.0, 0
    for i, j in itertools.permutations(range(len(ranks)), 2):
        if ranks[i] < ranks[j]:
            z = scores[i] - scores[j] - margin * (ranks[j] - ranks[i])
            total += (1 - smoothing) * math.log1p(math.exp(-z)) + smoothing * math.log1p(math.exp(z))
            total += centring * (scores[i] + scores[j]) ** 2
            count += 1
    return total / count


@given(rankings, st.integers(0, 99), st.floats(0, 2), st.floats(0, 0.49), st.floats(0, 1))
def test_bradley_terry_equals_two_loops(
    ranks: list[int], seed: int, margin: float, smoothing: float, centring: float
) -> None:
    assume(len(set(ranks)) > 1)
    scores = scores_for(ranks, seed)
    loss = bradley_terry(
        scores, pairs_of(torch.tensor(ranks)), margin=margin, label_smoothing=smoothing, centring=centring
    )
    assert float(loss) == pytest.approx(naive(scores.tolist(), ranks, margin, smoothing, centring), rel=1e-6)


@given(rankings)
def test_pairs_are_the_strict_preferences(ranks: list[int]) -> None:
    pairs = pairs_of(torch.tensor(ranks))
    found = list(zip(pairs.winner.tolist(), pairs.loser.tolist(), strict=True))
    assert set(found) == {(i, j) for i in range(len(ranks)) for j in range(len(ranks)) if ranks[i] < ranks[j]}
    assert pairs.distance.tolist() == [
        ranks[j] - ranks[i] for i, j in zip(pairs.winner, pairs.loser, strict=True)
    ]


def test_equal_scores_lose_log_two() -> None:
    loss = bradley_terry(torch.zeros(4), pairs_of(torch.tensor([1, 2, 3, 4])))
    assert float(loss) == pytest.approx(math.log(2))


def test_far_apart_in_the_right_order_loses_nothing_and_far_wrong_is_finite() -> None:
    pairs = pairs_of(torch.tensor([1, 2]))
    assert float(bradley_terry(torch.tensor([1e4, -1e4]), pairs)) == 0
    assert float(bradley_terry(torch.tensor([-1e4, 1e4]), pairs)) == pytest.approx(2e4)


@given(rankings, number)
def test_a_common_shift_changes_nothing(ranks: list[int], shift: float) -> None:
    assume(len(set(ranks)) > 1)
    scores, pairs = scores_for(ranks), pairs_of(torch.tensor(ranks))
    assert float(bradley_terry(scores + shift, pairs)) == pytest.approx(float(bradley_terry(scores, pairs)))


def test_gradients_by_finite_differences() -> None:
    ranks = torch.tensor([1, 2, 2, 4])
    pairs = pairs_of(ranks)
    scores = scores_for([0] * 4).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: bradley_terry(s, pairs, margin=0.3, label_smoothing=0.1, centring=0.2), (scores,)
    )
    assert torch.autograd.gradcheck(lambda s: plackett_luce(s, ranks), (scores,))


def test_a_response_in_no_pair_gets_no_gradient() -> None:
    pairs = pairs_of(torch.tensor([1, 2, 3]))
    pairs = type(pairs)(*(field[:1] for field in pairs[:3]))
    scores = torch.tensor([0.5, -0.5, 3.0], requires_grad=True)
    bradley_terry(scores, pairs).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert scores.grad[2] == 0
    assert scores.grad[0] < 0 < scores.grad[1]


def test_nothing_but_ties_is_refused() -> None:
    with pytest.raises(ValueError, match="strict preference"):
        bradley_terry(torch.zeros(3), pairs_of(torch.tensor([1, 1, 1])))
    with pytest.raises(ValueError, match="everything ties"):
        plackett_luce(torch.zeros(3), torch.tensor([2, 2, 2]))


def test_plackett_luce_of_two_is_bradley_terry() -> None:
    scores, ranks = torch.tensor([0.3, -1.1]), torch.tensor([2, 1])
    assert float(plackett_luce(scores, ranks)) == pytest.approx(float(bradley_terry(scores, pairs_of(ranks))))


@given(st.permutations([1, 2, 3, 4]), st.integers(0, 99))
def test_plackett_luce_equals_sequential_choice(ranks: list[int], seed: int) -> None:
    scores = scores_for(list(ranks), seed)
    order = sorted(range(4), key=lambda i: ranks[i])
    nll = 0.0
    for place in range(3):
        left = [math.exp(float(scores[i])) for i in order[place:]]
        nll -= math.log(left[0] / sum(left))
    assert float(plackett_luce(scores, torch.tensor(ranks))) == pytest.approx(nll / 3)


def test_plackett_luce_probabilities_of_all_orders_sum_to_one() -> None:
    scores = scores_for([0] * 4)
    total = sum(
        math.exp(-3 * float(plackett_luce(scores, torch.tensor(order))))
        for order in itertools.permutations([1, 2, 3, 4])
    )
    assert total == pytest.approx(1)
