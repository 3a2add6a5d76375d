"""How good responses are, given what annotators are like: the normal approximation prompt by prompt.

Shapes: `V` verdicts, `M` pairs that somebody has compared, `N` responses, `G` prompts, `K` responses of a
prompt, `Q` nodes of a quadrature.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.labels.davidson import log_chance
from engine.labels.verdicts import PairVerdicts

_nodes, _weights = np.polynomial.hermite_e.hermegauss(21)
NODES_Q, LOG_WEIGHTS_Q = _nodes, np.log(_weights / _weights.sum())
SWEEPS, DAMPING, CLOSE = 30, 0.8, 1e-3
"""Sweeps at most, the share of a step that is taken, and what of a mean, in standard deviations, and of a
variance may be left."""


@dataclass(frozen=True)
class Block:
    """Prompts with equally many responses, so that their matrices are one array."""

    rows: np.ndarray  # rows of the responses
    pairs: np.ndarray  # [m] numbers of their pairs
    prompt: np.ndarray  # [m] place of the pair's prompt in the block
    x: np.ndarray  # [m] place of the response in the prompt
    y: np.ndarray


@dataclass(frozen=True)
class PromptGroups:
    """The pairs that verdicts are about, and all prompts by number of responses."""

    x: np.ndarray  # rows of responses
    y: np.ndarray
    pair: np.ndarray  # the pair of each verdict
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, verdicts: PairVerdicts) -> PromptGroups:
        """Responses of a prompt lie together, and a verdict has the lesser row first (`PairVerdicts.of`)."""
        code, pair_V = np.unique(verdicts.x * len(verdicts.responses) + verdicts.y, return_inverse=True)
        x_M, y_M = np.divmod(code, len(verdicts.responses))
        size_G = np.bincount(verdicts.prompt_of, minlength=len(verdicts.prompts))
        start_G = np.cumsum(size_G) - size_G
        prompt_M = verdicts.prompt_of[x_M]
        blocks = []
        for size in np.unique(size_G):
            chosen = np.flatnonzero(size_G == size)
            place_G = np.full(len(size_G), -1)
            place_G[chosen] = np.arange(len(chosen))
            mine = np.flatnonzero(place_G[prompt_M] >= 0)
            start = start_G[prompt_M[mine]]
            rows = start_G[chosen][:, None] + np.arange(size)
            blocks.append(Block(rows, mine, place_G[prompt_M[mine]], x_M[mine] - start, y_M[mine] - start))
        return cls(x_M, y_M, pair_V, tuple(blocks))


@dataclass(frozen=True)
class Beliefs:
    """θ of each prompt as a normal distribution; θ_x − θ_y of each pair as weighted nodes, more exactly."""

    groups: PromptGroups
    mean: np.ndarray  # [N]
    covariances: tuple[np.ndarray, ...]  # of each block [G, K, K]
    tau: np.ndarray  # what the verdicts on a pair add to the precision of its difference
    push: np.ndarray  # and to precision times mean
    gap: np.ndarray  # [M, Q], nodes of each pair's difference
    share: np.ndarray  # [M, Q], their weights

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation of each θ, [N]."""
        deviation_R = np.zeros(len(self.mean))
        for block, covariance in zip(self.groups.blocks, self.covariances, strict=True):
            deviation_R[block.rows] = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        return deviation_R

    def spread(self, prior_N: np.ndarray) -> float:
        """Root of the mean of E[(θ − prior)²] within prompts: 1 where the prior's scale is right."""
        total, free = 0.0, 0
        for block, covariance in zip(self.groups.blocks, self.covariances, strict=True):
            off = (self.mean - prior_N)[block.rows]
            count, size = off.shape
            squares = np.square(off - off.mean(axis=1, keepdims=True)).sum()
            variances = np.trace(covariance, axis1=1, axis2=2).sum() - covariance.sum() / size
            total, free = total + float(squares + variances), free + count * (size - 1)
        return float(np.sqrt(total / free)) if free else 1.0

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """All pairs of responses to a prompt, block by block: rows x, y, mean and deviation of θ_x − θ_y."""
        for block, covariance in zip(self.groups.blocks, self.covariances, strict=True):
            i, j = np.triu_indices(block.rows.shape[1], 1)
            x, y = block.rows[:, i].ravel(), block.rows[:, j].ravel()
            variance = covariance[:, i, i] + covariance[:, j, j] - 2 * covariance[:, i, j]
            yield x, y, self.mean[x] - self.mean[y], np.sqrt(np.maximum(variance, 1e-12)).ravel()


def believed(
    verdicts: PairVerdicts,
    groups: PromptGroups,
    values_A_4: np.ndarray,
    driving_V: np.ndarray,
    prior_N: np.ndarray,
    before: Beliefs | None = None,
    *,
    sweeps: int = SWEEPS,
) -> Beliefs:
    """Expectation propagation (Minka, 2001), all pairs at once, damped, from the sites of `before`.

    What several annotators say of one pair is one site, so that with two responses a prompt nothing is
    approximated; Laplace's method at the mode would draw abilities down, for three verdicts are few.
    values_A_4: annotators' β, c, l, t; prior_N: prior means; driving_V: which verdicts count.
    """
    weight_V = np.where(driving_V, verdicts.weight, 0.0)
    beta_V, c_V, l_V, t_V = values_A_4[verdicts.annotator].T
    offset_V = c_V * verdicts.first + l_V * verdicts.doublings
    if before is None:
        tau_M = 0.1 * _by_pair(groups, weight_V * np.square(beta_V))
        push_M = 0.25 * _by_pair(groups, weight_V * beta_V * verdicts.verdict)
    else:
        tau_M, push_M = before.tau, before.push
    driven_M = _by_pair(groups, weight_V) > 0
    for sweep in range(sweeps + 1):
        mean_N, covariances, gap_M, variance_M = _marginals(groups, prior_N, tau_M, push_M)
        rest_M = np.maximum(1.0 / variance_M - tau_M, 1e-6)  # precision without the pair's own site
        centre_M = (gap_M / variance_M - push_M) / rest_M
        gap_M_Q = centre_M[:, None] + NODES_Q * rest_M[:, None] ** -0.5
        eta_V_Q = beta_V[:, None] * gap_M_Q[groups.pair] + offset_V[:, None]
        log_V_Q = weight_V[:, None] * log_chance(eta_V_Q, t_V[:, None], verdicts.verdict[:, None])
        log_M_Q = LOG_WEIGHTS_Q + _by_pair(groups, log_V_Q)
        share_M_Q = np.exp(log_M_Q - log_M_Q.max(axis=1, keepdims=True))
        share_M_Q /= share_M_Q.sum(axis=1, keepdims=True)
        tilted_M = (share_M_Q * gap_M_Q).sum(axis=1)
        spread_M = np.maximum((share_M_Q * np.square(gap_M_Q - tilted_M[:, None])).sum(axis=1), 1e-9)
        off_M = np.abs(tilted_M - gap_M) / np.sqrt(variance_M) + np.abs(spread_M / variance_M - 1.0)
        if sweep == sweeps or not (off_M > CLOSE).any():
            break
        tau_M = tau_M + DAMPING * (np.maximum(1.0 / spread_M - rest_M, 0.0) - tau_M)
        push_M = push_M + DAMPING * (tilted_M / spread_M - centre_M * rest_M - push_M)
        tau_M, push_M = np.where(driven_M, tau_M, 0.0), np.where(driven_M, push_M, 0.0)
    return Beliefs(groups, mean_N, covariances, tau_M, push_M, gap_M_Q, share_M_Q)


def _by_pair(groups: PromptGroups, values: np.ndarray) -> np.ndarray:
    """Sums over the verdicts on each pair, [M] or [M, Q]."""
    count = len(groups.x)
    if values.ndim == 1:
        return np.bincount(groups.pair, values, count)
    return np.stack([np.bincount(groups.pair, column, count) for column in values.T], axis=1)


def _marginals(
    groups: PromptGroups, prior_N: np.ndarray, tau_M: np.ndarray, push_M: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
    """Mean and covariance of every prompt's θ, mean and variance of every pair's difference."""
    mean_N, variance_M, covariances = np.zeros(len(prior_N)), np.zeros(len(tau_M)), []
    for block in groups.blocks:
        m, prior = block.pairs, prior_N[block.rows]
        covariance = np.linalg.inv(_precision(block, tau_M[m], len(prior)))
        pushed = prior + _pushed(block, push_M[m], prior.shape)
        mean_N[block.rows] = (covariance @ pushed[..., None])[..., 0]
        g, x, y = block.prompt, block.x, block.y
        variance_M[m] = covariance[g, x, x] + covariance[g, y, y] - 2 * covariance[g, x, y]
        covariances.append(covariance)
    gap_M = mean_N[groups.x] - mean_N[groups.y]
    return mean_N, tuple(covariances), gap_M, np.maximum(variance_M, 1e-9)


def _precision(block: Block, curve: np.ndarray, count: int) -> np.ndarray:
    """I + Σ curve (e_x − e_y)(e_x − e_y)ᵀ of every prompt, [G, K, K]."""
    size = block.rows.shape[1]
    total = np.zeros(count * size * size)
    cells = ((block.x, block.x, 1), (block.y, block.y, 1), (block.x, block.y, -1), (block.y, block.x, -1))
    for one, other, sign in cells:
        at = (block.prompt * size + one) * size + other
        total += sign * np.bincount(at, curve, len(total))
    return np.asarray(total.reshape(count, size, size) + np.eye(size))


def _pushed(block: Block, push: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Σ push (e_x − e_y) of every prompt, [G, K]."""
    size, length = shape[1], shape[0] * shape[1]
    total = np.bincount(block.prompt * size + block.x, push, length)
    return np.asarray((total - np.bincount(block.prompt * size + block.y, push, length)).reshape(shape))
