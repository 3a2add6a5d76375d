"""How sure a head is: heads drawn from the posterior of the ridge that was fitted.

The penalty ½λ‖w‖² is a normal prior of variance 1/λ on every weight.  Expectation propagation (Minka, 2001;
Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, §3.6) replaces the likelihood of each
pair by exp(ν_m d − ½τ_m d²) with the same mean and variance of d, so that

    w ~ N(Λ⁻¹ Dᵀν, Λ⁻¹),  Λ = λI + Dᵀ diag(τ) D.

The strength that predicts best with one head is not the one that says how sure the head is: a head that is
shrunk makes up for what it does not know.  So the prior has PRIOR_SHARE of it, and what lies between the head
and the mean of this posterior counts as uncertainty, to either side alike.  Nor is the strength known: few
prompts or strong preferences leave several nearly alike.  Each draw has one of its own, chosen by how well
heads of that strength predict prompts that they have not seen (`strength_shares`).  On synthetic truths
intervals of 95 % then cover 0.92–0.99, where Laplace's method at the cross-validated strength covers 0.6–0.9
and resampling the prompts 0.5 (docs/benchmarks.md).  Choosing the strength by the evidence goes astray on
real judgements, which are not independent given the features.

Comparisons tell nothing of the directions outside the span of their differences, where the prior stays as it
was: that a response unlike all that were judged has an uncertain score comes from there, and resampling the
judgements cannot show it.

Shapes: `M` pairs, `r` coordinates, `F` features, `E` draws, `Q` points of a quadrature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.frozen.comparisons import Comparisons
from engine.frozen.subspace import Subspace

PRIOR_SHARE = 0.25
"""The prior's strength as a share of the cross-validated one."""
PAIR_SHARE = 0.5
"""What a held-out pair counts as evidence of the strength: pairs of one prompt share their responses."""
SWEEPS, DAMPING, CLOSE = 30, 0.8, 0.02
"""Sweeps at most, the share of a step that is taken, and what of a mean, in standard deviations, and of a
variance may be left."""
_nodes, _weights = np.polynomial.hermite_e.hermegauss(40)
NODES_Q, LOG_WEIGHT_Q = _nodes, np.log(_weights / _weights.sum())


@dataclass(frozen=True)
class Posterior:
    """The normal approximation in the coordinates of the space."""

    strength: float
    mean: np.ndarray  # [r]
    root: np.ndarray  # [r, r] lower triangle, precision = root · rootᵀ
    sites: tuple[np.ndarray, np.ndarray]  # τ and ν of each pair, [M]


def posterior(
    differences_M_r: np.ndarray,
    comparisons: Comparisons,
    nu: float,
    strength: float,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> Posterior:
    """Expectation propagation, all pairs at once, damped.

    nu: Davidson's ν, held at its fitted value.  start: the sites of a posterior of nearly this strength.
    """
    eta = np.log(nu) if nu > 0 else None
    tau_M, push_M = start or (0.1 * comparisons.total, 0.25 * (comparisons.win - comparisons.loss))
    for sweep in range(SWEEPS + 1):
        root_r_r, s_M, d_M, mean_r = _marginals(differences_M_r, tau_M, push_M, strength)
        rest_M = np.maximum(1.0 / s_M - tau_M, 1e-9)  # precision without the pair's own site
        centre_M = (d_M / s_M - push_M) / rest_M
        tilted_M, variance_M = _tilted(centre_M, rest_M**-0.5, comparisons, eta)
        near = np.abs(tilted_M - d_M) <= CLOSE * np.sqrt(s_M)
        if sweep == SWEEPS or (near & (np.abs(variance_M / s_M - 1.0) <= CLOSE)).all():
            break
        tau_M = tau_M + DAMPING * (np.maximum(1.0 / variance_M - rest_M, 0.0) - tau_M)
        push_M = push_M + DAMPING * (tilted_M / variance_M - centre_M * rest_M - push_M)
    return Posterior(strength, mean_r, root_r_r, (tau_M, push_M))


def _marginals(
    differences_M_r: np.ndarray, tau_M: np.ndarray, push_M: np.ndarray, strength: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Root of the precision, variance and mean of every d, and the mean of the weights."""
    precision_r_r = differences_M_r.T @ (differences_M_r * tau_M[:, None])
    precision_r_r[np.diag_indices_from(precision_r_r)] += strength
    root_r_r = np.linalg.cholesky(precision_r_r)
    covariance_r_r = np.linalg.inv(precision_r_r)
    s_M = np.maximum(np.einsum("mr,mr->m", differences_M_r @ covariance_r_r, differences_M_r), 1e-12)
    mean_r = covariance_r_r @ (differences_M_r.T @ push_M)
    return root_r_r, s_M, differences_M_r @ mean_r, mean_r


def _tilted(
    centre_M: np.ndarray, deviation_M: np.ndarray, comparisons: Comparisons, eta: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of normal × likelihood of every pair, by Gauss–Hermite quadrature."""
    d_M_Q = centre_M[:, None] + deviation_M[:, None] * NODES_Q
    log_norm = np.logaddexp(0.5 * d_M_Q, -0.5 * d_M_Q)
    if eta is not None:
        log_norm = np.logaddexp(log_norm, eta)
    log_M_Q = 0.5 * (comparisons.win - comparisons.loss)[:, None] * d_M_Q
    log_M_Q += LOG_WEIGHT_Q - comparisons.total[:, None] * log_norm
    log_M_Q += comparisons.tie[:, None] * (eta or 0.0)
    share_M_Q = np.exp(log_M_Q - log_M_Q.max(axis=1, keepdims=True))
    share_M_Q /= share_M_Q.sum(axis=1, keepdims=True)
    mean_M = (share_M_Q * d_M_Q).sum(axis=1)
    variance_M = (share_M_Q * np.square(d_M_Q - mean_M[:, None])).sum(axis=1)
    return mean_M, np.maximum(variance_M, 1e-12)


def strength_shares(log_losses: Sequence[float], pairs: int) -> np.ndarray:
    """Of each strength the share of the draws, [S]: likelihood of held-out pairs at a power of PAIR_SHARE.

    log_losses: means over `pairs` held-out pairs, nats.  All to the least where one is not known.
    """
    losses_S = np.asarray(log_losses, dtype=np.float64)
    if not np.isfinite(losses_S).all():
        return np.asarray(losses_S == np.nanmin(losses_S), dtype=np.float64)
    share_S = np.exp(-PAIR_SHARE * pairs * (losses_S - losses_S.min()))
    return np.asarray(share_S / share_S.sum())


def drawn_heads(
    subspace: Subspace,
    comparisons: Comparisons,
    v_r: np.ndarray,
    nu: float,
    strengths: Mapping[float, float],
    count: int,
    seed: tuple[int, ...],
) -> np.ndarray:
    """`count` heads around the fitted one, as weights on the scaled features, [E, F].

    v_r: the fitted head in the coordinates of the space; strengths: the share of draws that each has.  The
    mean of the draws is the head, and their variance, divided by E, is in expectation E[(w − v)²] of the
    posterior.
    """
    if count < 2:
        raise ValueError("One head has no spread; draw two or more.")
    random = np.random.default_rng(seed)
    sign_E = random.choice((-1.0, 1.0), count)
    inside_E_r, outside_E_F = np.empty((count, len(v_r))), random.standard_normal((count, subspace.width))
    sites = None
    for strength, mine in _dealt(strengths, count, random):
        normal = posterior(subspace.differences, comparisons, nu, PRIOR_SHARE * strength, sites)
        sites = normal.sites
        inside_E_r[mine] = np.linalg.solve(normal.root.T, random.standard_normal((len(v_r), len(mine)))).T
        inside_E_r[mine] += sign_E[mine, None] * (normal.mean - v_r)
        outside_E_F[mine] /= np.sqrt(normal.strength)
    around_E_F = outside_E_F + subspace.weights(inside_E_r - subspace.coordinates(outside_E_F))
    around_E_F -= around_E_F.mean(axis=0)
    return np.asarray(subspace.weights(v_r[None]) + around_E_F * np.sqrt(count / (count - 1)))


def _dealt(
    strengths: Mapping[float, float], count: int, random: np.random.Generator
) -> Iterator[tuple[float, np.ndarray]]:
    """Which of `count` draws have which strength: near to the shares, the rest by lot."""
    shares_S = np.array(list(strengths.values()))
    ends_S = np.cumsum(shares_S / shares_S.sum())
    which_E = np.searchsorted(ends_S, (np.arange(count) + random.random()) / count).clip(0, len(ends_S) - 1)
    random.shuffle(which_E)
    for place, strength in enumerate(strengths):
        mine = np.flatnonzero(which_E == place)
        if len(mine):
            yield strength, mine
