"""What would be learned from a judgement, before it is made: the worth of pairs that nobody has judged.

Shapes: `N` responses, `M` judged pairs, `P` pairs to judge, `E` heads of the ensemble.
"""

from __future__ import annotations

import numpy as np


def chance(difference: np.ndarray) -> np.ndarray:
    """σ(difference), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(difference, dtype=np.float64))))


def entropy(chance_P: np.ndarray) -> np.ndarray:
    """−p ln p − (1 − p) ln(1 − p), in nats; 0 at 0 and 1."""
    p = np.clip(chance_P, 1e-12, 1.0 - 1e-12)
    return np.asarray(-p * np.log(p) - (1.0 - p) * np.log1p(-p))


def disagreement(differences_E_P: np.ndarray) -> np.ndarray:
    """Mutual information of the verdict on each pair and the head, [P] in nats: H(E p) − E H(p).

    Bayesian active learning by disagreement (Houlsby et al., 2011, arXiv:1112.5745, eq. 2) with an ensemble
    for the posterior.  differences_E_P: score of the first response minus that of the second, by every head.
    It is 0 where all heads agree, however unsure they are: a coin that is known to be fair tells nothing.
    """
    chances_E_P = chance(differences_E_P)
    return np.maximum(entropy(chances_E_P.mean(axis=0)) - entropy(chances_E_P).mean(axis=0), 0.0)


def pair_products(
    gram_N_N: np.ndarray, one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Inner products of differences of features, [M, P], from those of responses; a pair is (left, right)."""
    (a_M, b_M), (c_P, d_P) = one, other
    return np.asarray(
        gram_N_N[np.ix_(a_M, c_P)] - gram_N_N[np.ix_(a_M, d_P)]
        - gram_N_N[np.ix_(b_M, c_P)] + gram_N_N[np.ix_(b_M, d_P)]
    )  # fmt: skip


def difference_variance(
    gram_N_N: np.ndarray,
    judged: tuple[np.ndarray, np.ndarray],
    curvature_M: np.ndarray,
    strength: float,
    waiting: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Posterior variance of the score difference of each waiting pair, dᵀA⁻¹d, [P].

    A = λI + Σ c_m d_m d_mᵀ is the precision of the Laplace approximation of a ridge-penalised Bradley–Terry
    head; c = votes · p(1 − p).  With more features than pairs it is had from inner products alone (Woodbury):
    λ dᵀA⁻¹d = dᵀd − kᵀ(K + λ C⁻¹)⁻¹k, where K and k are products with the judged differences.
    """
    left_P, right_P = waiting
    length_P = gram_N_N[left_P, left_P] + gram_N_N[right_P, right_P] - 2 * gram_N_N[left_P, right_P]
    if not len(curvature_M):
        return np.asarray(length_P / strength)
    root_M = np.sqrt(curvature_M)
    inner_M_M = pair_products(gram_N_N, judged, judged) * root_M * root_M[:, None]
    inner_M_M[np.diag_indices_from(inner_M_M)] += strength
    cross_M_P = root_M[:, None] * pair_products(gram_N_N, judged, waiting)
    explained_P = (cross_M_P * np.linalg.solve(inner_M_M, cross_M_P)).sum(axis=0)
    return np.maximum(length_P - explained_P, 0.0) / strength


def determinant_gain(chance_P: np.ndarray, variance_P: np.ndarray) -> np.ndarray:
    """What judging a pair adds to ln det A, [P]: ln(1 + p(1 − p) dᵀA⁻¹d).

    The matrix determinant lemma; the greedy step of D-optimal design (Chaloner and Verdinelli, 1995, §4) in
    the last layer.
    """
    return np.asarray(np.log1p(chance_P * (1.0 - chance_P) * variance_P))
