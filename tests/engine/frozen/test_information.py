"""What would teach a head most, against naive twins: the whole posterior in weights, pair by pair."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.frozen.information import chance, covariance, products, sequence


def case(seed: int, N: int = 9, F: int = 6, M: int = 5, P: int = 7) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(N, F))
    judged, waiting = (
        np.array([rng.choice(N, 2, replace=False) for _ in range(count)]).T for count in (M, P)
    )
    return features, judged, waiting, rng.uniform(0.05, 1.0, M), rng.uniform(0.1, 0.9, P)


@given(st.integers(0, 300), st.floats(0.05, 5.0))
@settings(max_examples=25, deadline=None)
def test_the_covariance_is_that_of_the_weights(seed: int, strength: float) -> None:
    """From inner products the same as Dᵀ (λI + Jᵀ C J)⁻¹ D in the features."""
    features, judged, waiting, curvature, _ = case(seed)
    J, D = (features[one] - features[other] for one, other in (judged, waiting))
    precision = strength * np.eye(features.shape[1]) + J.T @ (J * curvature[:, None])
    naive = D @ np.linalg.inv(precision) @ D.T
    gram = features @ features.T
    sides = (tuple(judged), tuple(waiting))
    np.testing.assert_allclose(products(gram, *sides), J @ D.T, atol=1e-9)
    np.testing.assert_allclose(covariance(gram, sides[0], curvature, strength, sides[1]), naive, atol=1e-8)


@given(st.integers(0, 300))
@settings(max_examples=25, deadline=None)
def test_each_pair_takes_most_off_the_variance_that_those_before_have_left(seed: int) -> None:
    """The naive twin fits anew with every pair that was chosen and tries each that is left."""
    features, judged, waiting, curvature, p = case(seed)
    prompt = np.array([0, 0, 1, 1, 2, 3, 3])
    D = features[waiting[0]] - features[waiting[1]]
    J, weight = features[judged[0]] - features[judged[1]], curvature.tolist()

    def variance(extra: list[int]) -> float:
        rows = np.concatenate([J, D[extra]])
        c = np.array(weight + [p[i] * (1 - p[i]) for i in extra])
        A = np.eye(features.shape[1]) + rows.T @ (rows * c[:, None])
        return float(p * (1 - p) @ np.einsum("pf,fg,pg->p", D, np.linalg.inv(A), D))

    gram = features @ features.T
    found = sequence(covariance(gram, tuple(judged), curvature, 1.0, tuple(waiting)), p, prompt, 9)
    assert len(found) == len(set(prompt[found])) == 4
    for place, pair in enumerate(found):
        free = [i for i in range(len(p)) if prompt[i] not in prompt[found[:place]]]
        best = min(variance([*found[:place], i]) for i in free)
        assert variance([*found[:place], pair]) <= best + 1e-9


def test_nobody_has_judged_and_far_away_is_no_overflow() -> None:
    features, _, waiting, _, p = case(1)
    none = (np.zeros(0, dtype=int), np.zeros(0, dtype=int))
    found = covariance(features @ features.T, none, np.zeros(0), 2.0, tuple(waiting))
    D = features[waiting[0]] - features[waiting[1]]
    np.testing.assert_allclose(found, D @ D.T / 2.0, atol=1e-9)
    assert sequence(found, p, np.arange(len(p)), 0) == []
    assert chance(np.array([-1e9, 0.0, 1e9])).tolist() == [0.0, 0.5, 1.0]
