"""Which pairs nobody has judged would teach a head most: I-optimal design, one pair after the other.

The head's posterior is normal by Laplace's method, so that the margins of all pairs have a covariance Σ.  A
verdict on pair j takes Σ_j Σ_jᵀ / (1/c_j + Σ_jj) off it, c = p(1 − p); what that takes off the variance of
the chances of all pairs, Σ_i c_i Σ_ij² / (1/c_j + Σ_jj), is its gain (I-optimality, Chaloner and Verdinelli,
Statistical Science 10, 1995, §2.2, in the last layer).  The next pair is chosen as if the ones before had
been judged, so that a batch holds no two that teach the same.

Of the orders that were tried this one needs the fewest labels (docs/decisions/0027).
Shapes: `N` responses, `M` judged pairs, `P` pairs to judge.
"""

from __future__ import annotations

import numpy as np

from engine.scoring.head import RewardHead

Sides = tuple[np.ndarray, np.ndarray]
"""Rows of the first and of the second response of each pair."""


def chance(difference: np.ndarray) -> np.ndarray:
    """σ(difference), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(difference, dtype=np.float64))))


def gram(head: RewardHead, features_N_F: np.ndarray) -> np.ndarray:
    """Inner products of responses in the space in which the ridge of the fit is round, [N, N]."""
    seen_N_F = head.squashed(features_N_F)
    if head.centre is None:
        spread_F = seen_N_F.std(axis=0)
        seen_N_F = (seen_N_F - seen_N_F.mean(axis=0)) / np.where(spread_F > 0, spread_F, 1.0)
    return np.asarray(seen_N_F @ seen_N_F.T, dtype=np.float64) / seen_N_F.shape[1]


def products(gram_N_N: np.ndarray, one: Sides, other: Sides) -> np.ndarray:
    """Inner products of differences of features, [M, P], from those of responses."""
    (a_M, b_M), (c_P, d_P) = one, other
    return np.asarray(
        gram_N_N[np.ix_(a_M, c_P)] - gram_N_N[np.ix_(a_M, d_P)]
        - gram_N_N[np.ix_(b_M, c_P)] + gram_N_N[np.ix_(b_M, d_P)]
    )  # fmt: skip


def covariance(
    gram_N_N: np.ndarray, judged: Sides, curvature_M: np.ndarray, strength: float, waiting: Sides
) -> np.ndarray:
    """Posterior covariance of the margins of the waiting pairs, [P, P].

    curvature: votes · p(1 − p) of the judged pairs.  With more features than pairs it is had from inner
    products alone (Woodbury): λ Σ = W − Kᵀ (J + λ C⁻¹)⁻¹ K.
    """
    found_P_P = products(gram_N_N, waiting, waiting)
    if len(curvature_M):
        root_M = np.sqrt(curvature_M)
        inner_M_M = products(gram_N_N, judged, judged) * root_M * root_M[:, None]
        inner_M_M[np.diag_indices_from(inner_M_M)] += strength
        cross_M_P = root_M[:, None] * products(gram_N_N, judged, waiting)
        found_P_P -= cross_M_P.T @ np.linalg.solve(inner_M_M, cross_M_P)
    return found_P_P / strength


def sequence(covariance_P_P: np.ndarray, chance_P: np.ndarray, prompt_P: np.ndarray, count: int) -> list[int]:
    """The first `count` pairs, each of another prompt, each chosen knowing those before."""
    left_P_P = covariance_P_P.copy()
    curvature_P = np.maximum(chance_P * (1.0 - chance_P), 1e-6)
    free_P = np.ones(len(chance_P), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < count and free_P.any():
        variance_P = np.maximum(np.diag(left_P_P), 0.0)
        gain_P = (curvature_P @ np.square(left_P_P)) / (1.0 / curvature_P + variance_P)
        pair = int(np.argmax(np.where(free_P, gain_P, -np.inf)))
        chosen.append(pair)
        free_P &= prompt_P != prompt_P[pair]
        column_P = left_P_P[:, pair].copy()
        left_P_P -= np.outer(column_P, column_P) / (1.0 / curvature_P[pair] + column_P[pair])
    return chosen
