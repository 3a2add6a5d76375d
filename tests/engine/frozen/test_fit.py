"""The fit against a naive twin in all dimensions, and what must not change it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import NonFiniteError, UsageError
from engine.frozen import subspace
from engine.frozen.comparisons import Comparisons
from engine.frozen.fit import FitSettings, cross_validate, fit, fit_head, fold_of
from engine.frozen.measure import measure, strict_majority
from engine.scoring.head import RewardHead
from tests.engine.frozen.made import made

PLAIN = FitSettings(strengths=(0.5,), members=0, calibrate=False, votes="all")
seeds = st.integers(0, 10_000)
few = settings(max_examples=15, deadline=None)


def head_of(features: np.ndarray, comparisons: Comparisons, how: FitSettings = PLAIN) -> RewardHead:
    return fit_head(features, comparisons, layers=(1,), parts=("last",), settings=how)


def margins(head: RewardHead, features: np.ndarray, comparisons: Comparisons) -> np.ndarray:
    scores = head.scores(features.astype(np.float64))[:, 0].astype(np.float64)
    return scores[comparisons.left] - scores[comparisons.right]


def naive(features: np.ndarray, c: Comparisons, strength: float, squash: bool = True) -> np.ndarray:
    """Newton's method on ridge Bradley–Terry in all F dimensions; margins of the pairs."""
    x = features.astype(np.float64)
    x = (x - x.mean(0)) / x.std(0)
    x = (np.tanh(x) if squash else x) / np.sqrt(x.shape[1])
    d, w = x[c.left] - x[c.right], np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-d @ w))
        gradient = d.T @ ((c.win + c.loss) * p - c.win) + strength * w
        hessian = (d.T * ((c.win + c.loss) * p * (1 - p))) @ d + strength * np.eye(len(w))
        w = w - np.linalg.solve(hessian, gradient)
    return d @ w


@given(seeds, st.sampled_from([3, 12, 60]), st.sampled_from([0.02, 0.5, 20.0]), st.booleans())
@few
def test_it_is_the_ridge_fit_in_all_dimensions(seed: int, F: int, strength: float, squash: bool) -> None:
    features, c = made(seed, F=F, voters=2)
    head = head_of(features, c, dataclasses.replace(PLAIN, strengths=(strength,), squash=squash))
    assert (head.centre is not None) == squash
    expected = naive(features, c, strength, squash)
    np.testing.assert_allclose(margins(head, features, c), expected, atol=2e-4, rtol=1e-3)


@given(seeds)
@few
def test_swapping_a_pair_and_its_votes_changes_nothing(seed: int) -> None:
    features, c = made(seed, ties=0.2, voters=3)
    swap = np.random.default_rng(seed).random(len(c)) < 0.5
    swapped = Comparisons(
        left=np.where(swap, c.right, c.left),
        right=np.where(swap, c.left, c.right),
        prompt=c.prompt,
        win=np.where(swap, c.loss, c.win),
        loss=np.where(swap, c.win, c.loss),
        tie=c.tie,
    )
    how = FitSettings(members=4)
    one, other = head_of(features, c, how), head_of(features, swapped, how)
    np.testing.assert_allclose(one.weight, other.weight, atol=1e-4)


@given(seeds)
@few
def test_turning_every_verdict_round_turns_the_scores_round(seed: int) -> None:
    features, c = made(seed, ties=0.2)
    turned = Comparisons(c.left, c.right, c.prompt, c.loss, c.win, c.tie)
    one, other = head_of(features, c), head_of(features, turned)
    np.testing.assert_allclose(one.weight, -other.weight, atol=1e-5)


@given(seeds)
@few
def test_shifting_and_stretching_features_changes_no_margin(seed: int) -> None:
    """The scaling is folded into the head, so it does not matter in what units features come."""
    features, c = made(seed)
    draw = np.random.default_rng(seed)
    stretch, shift = draw.uniform(0.5, 4, features.shape[1]), draw.normal(size=features.shape[1])
    other = (features * stretch + shift).astype(np.float32)
    np.testing.assert_allclose(
        margins(head_of(features, c), features, c), margins(head_of(other, c), other, c), atol=5e-4
    )


@given(seeds)
@few
def test_the_mean_score_is_zero_and_the_mean_of_the_ensemble_is_the_head(seed: int) -> None:
    features, c = made(seed, ties=0.1)
    head = head_of(features, c, FitSettings(members=5))
    assert abs(head.scores(features).mean()) < 1e-3
    members = head.members(features)
    assert members is not None
    assert head.ensemble_weight is not None
    np.testing.assert_allclose(head.ensemble_weight.mean(axis=0), head.weight, atol=1e-6)
    np.testing.assert_allclose(members.mean(axis=0), head.scores(features), atol=1e-4)
    assert members.std(axis=0).max() > 1e-3


def test_many_responses_are_reduced_by_random_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no more features than directions nothing is lost; with fewer, some (these features are the worst
    case: they spread alike in all directions).
    """
    features, c = made(5, prompts=40, F=12)
    exact = margins(head_of(features, c), features, c)
    monkeypatch.setattr(subspace, "MOST_DIRECTIONS", 12)
    np.testing.assert_allclose(margins(head_of(features, c), features, c), exact, atol=2e-3)
    monkeypatch.setattr(subspace, "MOST_DIRECTIONS", 9)
    near = margins(head_of(features, c), features, c)
    assert np.corrcoef(near, exact)[0, 1] > 0.7


def test_a_constant_feature_has_no_weight() -> None:
    features, c = made(0)
    features[:, 7] = 3.0
    head = head_of(features, c)
    assert head.weight[0, 7] == 0
    np.testing.assert_allclose(
        margins(head, features, c), naive(np.delete(features, 7, 1), c, 0.5 * 40 / 39), atol=2e-3
    )


def test_held_out_margins_are_those_of_a_fit_without_the_fold() -> None:
    features, c = made(3, prompts=9, ties=0.2, voters=3)
    how = dataclasses.replace(PLAIN, ties=False, folds=3)
    report = cross_validate(features, c, how)
    fold = fold_of(c.prompt, 3, how.seed)
    for k in range(3):
        kept = c.weighted((fold != k).astype(float))
        np.testing.assert_allclose(
            report.margins[fold == k], naive(features, kept, 0.5)[fold == k], atol=1e-3
        )


def test_the_strength_with_the_least_held_out_loss_is_chosen_and_told() -> None:
    features, c = made(1, prompts=30)
    report = cross_validate(features, c, FitSettings(calibrate=True))
    assert report.temperature != 1.0
    losses = [found.log_loss for found in report.measures]
    assert report.strength == report.strengths[int(np.argmin(losses))]
    assert report.calibrated.log_loss <= min(losses) + 1e-9
    assert "← chosen" in report.table()
    assert report.calibrated.pairs == 90


def test_no_prompt_is_in_two_folds() -> None:
    prompt = np.repeat(np.arange(11), 4)
    fold = fold_of(prompt, 4, seed=2)
    assert all(len(set(fold[prompt == p])) == 1 for p in range(11))
    assert sorted(np.bincount(fold) // 4) == [2, 3, 3, 3]


def test_one_prompt_is_learned_without_cross_validation() -> None:
    features, c = made(0, prompts=1)
    fitted = fit(features, c, layers=(1,), parts=("last",))
    assert np.isnan(fitted.reports["overall"].calibrated.accuracy)
    assert measure(margins(fitted.head, features, c), strict_majority(c)).accuracy == 1.0


def test_criteria_have_a_head_each() -> None:
    features, c = made(0)
    opposite = Comparisons(c.left, c.right, c.prompt, c.loss, c.win, c.tie)
    head = fit_head(features, {"overall": c, "brief": opposite}, layers=(1,), parts=("last",))
    assert head.criteria == ("overall", "brief")
    assert head.ensemble_weight is not None
    assert head.ensemble_weight.shape == (32, 2, 40)
    np.testing.assert_allclose(head.weight[0], -head.weight[1], atol=1e-4)


def test_what_cannot_be_learned_is_a_sentence() -> None:
    features, c = made(0)
    tied = Comparisons(c.left, c.right, c.prompt, 0 * c.win, 0 * c.win, np.ones(len(c)))
    with pytest.raises(UsageError, match="no response was judged better"):
        head_of(features, tied)
    features[0, 0] = np.nan
    with pytest.raises(NonFiniteError, match="not finite"):
        head_of(features, c)
