"""Ranking losses: naive twins, analytic limits, gradients."""

import itertools
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.objectives.ranking import (
    Pairs,
    Ties,
    bradley_terry,
    choices_of,
    davidson,
    pairs_of,
    plackett_luce,
    rao_kupper,
    rating_error,
    ties_of,
)

rankings = st.lists(st.integers(1, 4), min_size=2, max_size=6)
number = st.floats(-5, 5)
patient = settings(deadline=None, max_examples=50)


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


@patient
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


@patient
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


@patient
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


@patient
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


def davidson_chances(one: float, other: float, nu: float) -> tuple[float, float, float]:
    """Chances that the first wins, that the second does, and of a tie, in the words of the paper."""
    a, b = math.exp(one), math.exp(other)
    total = a + b + nu * math.sqrt(a * b)
    return a / total, b / total, nu * math.sqrt(a * b) / total


def rao_kupper_chances(one: float, other: float, theta: float) -> tuple[float, float, float]:
    a, b = math.exp(one), math.exp(other)
    tie = (theta**2 - 1) * a * b / ((a + theta * b) * (theta * a + b))
    return a / (a + theta * b), b / (b + theta * a), tie


@patient
@given(number, number, st.floats(0.05, 5))
def test_chances_with_ties_sum_to_one_and_are_what_the_losses_say(
    one: float, other: float, strength: float
) -> None:
    nothing = torch.zeros(0, dtype=torch.long)
    empty = Pairs(nothing, nothing, nothing.float()), Ties(nothing, nothing)
    first = Pairs(torch.tensor([0]), torch.tensor([1]), torch.ones(1))
    second = Pairs(torch.tensor([1]), torch.tensor([0]), torch.ones(1))
    tie = Ties(torch.tensor([0]), torch.tensor([1]))
    scores = torch.tensor([one, other], dtype=torch.float64)
    for loss, chances, parameter in (
        (davidson, davidson_chances(one, other, strength), math.log(strength)),
        (rao_kupper, rao_kupper_chances(one, other, math.exp(strength)), strength),
    ):
        assert sum(chances) == pytest.approx(1)
        at = torch.tensor(parameter, dtype=torch.float64)
        found = [
            loss(scores, first, empty[1], at),
            loss(scores, second, empty[1], at),
            loss(scores, empty[0], tie, at),
        ]
        assert [math.exp(-float(x)) for x in found] == pytest.approx(chances, abs=1e-9)


@patient
@given(rankings, st.integers(0, 99), st.floats(0, 1))
def test_without_ties_both_models_tend_to_bradley_terry(ranks: list[int], seed: int, centring: float) -> None:
    assume(len(set(ranks)) > 1)
    scores, pairs = scores_for(ranks, seed), pairs_of(torch.tensor(ranks))
    nothing = torch.zeros(0, dtype=torch.long)
    limit = float(bradley_terry(scores, pairs, centring=centring))
    ties = Ties(nothing, nothing)
    small, none = torch.tensor(-40.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)
    assert float(davidson(scores, pairs, ties, small, centring=centring)) == pytest.approx(limit)
    assert float(rao_kupper(scores, pairs, ties, none, centring=centring)) == pytest.approx(limit)


@patient
@given(rankings, st.integers(0, 99))
def test_ties_and_strict_pairs_share_the_mean(ranks: list[int], seed: int) -> None:
    scores, ranks_K = scores_for(ranks, seed), torch.tensor(ranks)
    pairs, ties = pairs_of(ranks_K), ties_of(ranks_K)
    assert len(pairs.winner) + len(ties.first) == len(ranks) * (len(ranks) - 1) // 2
    total = 0.0
    for i, j in itertools.combinations(range(len(ranks)), 2):
        chances = davidson_chances(float(scores[i]), float(scores[j]), 0.7)
        total -= math.log(chances[0 if ranks[i] < ranks[j] else 1 if ranks[i] > ranks[j] else 2])
    count = len(ranks) * (len(ranks) - 1) / 2
    nu = torch.tensor(math.log(0.7), dtype=torch.float64)
    assert float(davidson(scores, pairs, ties, nu)) == pytest.approx(total / count)


def test_a_tie_pulls_scores_together_and_fits_its_parameter() -> None:
    ranks = torch.tensor([1, 1, 2])
    for loss in (davidson, rao_kupper):
        scores = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64, requires_grad=True)
        at = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda s, p, loss=loss: loss(s, pairs_of(ranks), ties_of(ranks), p, centring=0.1), (scores, at)
        )
        loss(scores, pairs_of(ranks[:0]), Ties(torch.tensor([0]), torch.tensor([1])), at).backward()  # type: ignore[no-untyped-call]
        assert scores.grad is not None
        assert scores.grad[0] > 0 > scores.grad[1]
        assert scores.grad[2] == 0
        assert at.grad is not None
        assert at.grad < 0  # more ties expected


@patient
@given(rankings, st.integers(0, 99), st.lists(st.floats(0, 3), min_size=15, max_size=15))
def test_a_weight_repeats_a_pair(ranks: list[int], seed: int, weights: list[float]) -> None:
    assume(len(set(ranks)) > 1)
    scores, pairs = scores_for(ranks, seed), pairs_of(torch.tensor(ranks))
    count = len(pairs.winner)
    weight = torch.tensor(weights[:count], dtype=torch.float64)
    each = [
        float(bradley_terry(scores, Pairs(*(x[m : m + 1] for x in pairs[:3])), margin=0.2))
        for m in range(count)
    ]
    expected = sum(w * x for w, x in zip(weight.tolist(), each, strict=True)) / count
    found = bradley_terry(scores, Pairs(*pairs[:3], weight), margin=0.2)
    assert float(found) == pytest.approx(expected)
    whole = Pairs(*pairs[:3], torch.ones(count))
    assert float(bradley_terry(scores, whole)) == pytest.approx(float(bradley_terry(scores, pairs)))


@patient
@given(rankings, st.integers(0, 99))
def test_members_of_an_ensemble_are_scored_apart(ranks: list[int], seed: int) -> None:
    assume(len(set(ranks)) > 1)
    ranks_K = torch.tensor(ranks)
    pairs, ties = pairs_of(ranks_K), ties_of(ranks_K)
    members = torch.stack([scores_for(ranks, seed), scores_for(ranks, seed + 1)])
    at = torch.tensor(0.2, dtype=torch.float64)
    for loss in (
        lambda s: bradley_terry(s, pairs, centring=0.1),
        lambda s: davidson(s, pairs, ties, at),
        lambda s: rao_kupper(s, pairs, ties, at),
        lambda s: plackett_luce(s, ranks_K),
        lambda s: rating_error(s, -ranks_K.double()),
    ):
        torch.testing.assert_close(loss(members), torch.stack([loss(member) for member in members]))


def test_choices_are_what_a_ranking_is_divided_by() -> None:
    assert [choices_of(torch.tensor(r)) for r in ([1, 2, 3], [1, 2, 2], [1, 1, 2], [1, 1])] == [2, 1, 2, 0]


def test_nothing_to_learn_from_is_refused() -> None:
    nothing = torch.zeros(0, dtype=torch.long)
    with pytest.raises(ValueError, match="no rating"):
        rating_error(torch.ones(0), torch.ones(0))
    with pytest.raises(ValueError, match="neither"):
        davidson(torch.zeros(2), Pairs(nothing, nothing, nothing), Ties(nothing, nothing), torch.zeros(()))
