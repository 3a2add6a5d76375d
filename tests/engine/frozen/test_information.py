"""Information of pairs: limits, a naive twin, and what greedy choice by it reaches."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.frozen.information import (
    chance,
    determinant_gain,
    difference_variance,
    disagreement,
    entropy,
    pair_products,
)

SEEDS = st.integers(0, 2**31 - 1)


def responses(seed: int, count: int = 9, features: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, features))


def pairs(seed: int, count: int, responses: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, count])
    left = rng.integers(0, responses, count)
    return left, (left + rng.integers(1, responses, count)) % responses


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_disagreement_is_mutual_information(seed: int) -> None:
    """H(y) + H(head) − H(y, head) of the joint table, head uniform."""
    differences = np.random.default_rng(seed).normal(scale=3, size=(6, 4))
    p = chance(differences) / 6
    joint = np.stack([p, 1 / 6 - p])
    both = -(joint * np.log(joint)).sum(axis=(0, 1))
    of_verdict = entropy(joint[0].sum(axis=0))
    np.testing.assert_allclose(disagreement(differences), of_verdict + np.log(6) - both, atol=1e-9)


def test_heads_that_agree_tell_nothing_however_unsure() -> None:
    assert disagreement(np.zeros((5, 1)))[0] == 0
    assert disagreement(np.full((5, 1), 1.3))[0] < 1e-12
    torn = disagreement(np.array([[40.0], [-40.0]]))
    np.testing.assert_allclose(torn, np.log(2), atol=1e-9)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_variance_is_that_of_the_precision_written_out(seed: int) -> None:
    x = responses(seed)
    judged, waiting = pairs(seed, 6), pairs(seed, 4)
    curvature = np.random.default_rng(seed).uniform(0.01, 0.25, 6)
    known, asked = x[judged[0]] - x[judged[1]], x[waiting[0]] - x[waiting[1]]
    precision = 0.3 * np.eye(5) + known.T @ (known * curvature[:, None])
    naive = np.einsum("pf,fg,pg->p", asked, np.linalg.inv(precision), asked)
    found = difference_variance(x @ x.T, judged, curvature, 0.3, waiting)
    np.testing.assert_allclose(found, naive, rtol=1e-8, atol=1e-10)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_gain_is_what_the_log_determinant_gains(seed: int) -> None:
    x = responses(seed)
    waiting = pairs(seed, 4)
    asked, p = x[waiting[0]] - x[waiting[1]], np.array([0.5, 0.1, 0.9, 0.3])
    nothing = (np.zeros(0, dtype=int), np.zeros(0, dtype=int))
    variance = difference_variance(x @ x.T, nothing, np.zeros(0), 2.0, waiting)
    precision = 2.0 * np.eye(5)
    naive = [
        np.linalg.slogdet(precision + c * (1 - c) * np.outer(d, d))[1] - np.linalg.slogdet(precision)[1]
        for c, d in zip(p, asked, strict=True)
    ]
    np.testing.assert_allclose(determinant_gain(p, variance), naive, rtol=1e-8, atol=1e-10)


def test_products_of_differences() -> None:
    x = responses(3)
    one, other = pairs(1, 3), pairs(2, 4)
    expected = (x[one[0]] - x[one[1]]) @ (x[other[0]] - x[other[1]]).T
    np.testing.assert_allclose(pair_products(x @ x.T, one, other), expected, atol=1e-10)


def test_a_judged_pair_is_worth_less_than_before() -> None:
    x = responses(0)
    pair = (np.array([0]), np.array([1]))
    before = difference_variance(x @ x.T, (pair[0][:0], pair[1][:0]), np.zeros(0), 0.5, pair)
    after = difference_variance(x @ x.T, pair, np.array([0.25]), 0.5, pair)
    assert after[0] < before[0]
