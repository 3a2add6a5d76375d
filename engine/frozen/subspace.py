"""The few directions of a large feature space that comparisons can tell apart.

A pair says something about wᵀ(x_i − x_j) only.  With thousands of features and hundreds of responses, a
ridge-penalised w lies in the span of the differences of responses to one prompt, so it is found exactly in
that span's coordinates; of many responses the directions of the largest differences are kept.  They are
rotated so that the coordinates of the differences are uncorrelated, Σ_m n_m d_m d_mᵀ = diag(spread), which
makes a diagonal preconditioner of the fit nearly exact.

Shapes: `N` responses, `F` features, `M` pairs, `r` coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from engine.frozen.comparisons import Comparisons

CHUNK = 512  # features at a time in float64
MOST_DIRECTIONS = 768
"""More judged responses than this are reduced nearly, not exactly, which takes time as their cube.  States of
a language model lose nothing: of PandaLM's 420 directions the 128 largest predict as well as all."""
NOTHING = 1e-10  # directions with less than this share of the largest spread are rounding errors


@dataclass(frozen=True)
class Scaling:
    """What is done to features before they are weighed: tanh((x − centre) / scale), or without the tanh.

    A constant feature becomes 0.  All are divided by √F, so that a difference has a length of about √2.
    """

    centre: np.ndarray  # [F] mean
    scale: np.ndarray  # [F] standard deviation; 1 for a constant feature
    factor: np.ndarray  # [F] 1 / √F, or 0 for a constant feature
    squash: bool

    @classmethod
    def of(cls, features_N_F: np.ndarray, squash: bool) -> Scaling:
        """Mean and spread over all responses given, judged or not."""
        centre = features_N_F.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = features_N_F.std(axis=0, dtype=np.float64)
        constant = ~(spread > 1e-6 * np.maximum(np.abs(centre), 1e-6))
        factor = np.where(constant, 0.0, features_N_F.shape[1] ** -0.5)
        return cls(centre, np.where(constant, 1.0, spread).astype(np.float32), factor, squash)

    def apply(self, features_n_f: np.ndarray, columns: slice) -> np.ndarray:
        """Some columns of the features of some responses, scaled, in float64."""
        x = (features_n_f - self.centre[columns]) / self.scale[columns]
        return np.asarray((np.tanh(x) if self.squash else x) * self.factor[columns], dtype=np.float64)

    def mean(self, features_N_F: np.ndarray) -> np.ndarray:
        """Mean of the scaled features, [F]; 0 without tanh."""
        if not self.squash:
            return np.zeros(features_N_F.shape[1])
        columns = _columns(features_N_F.shape[1])
        return np.concatenate([self.apply(features_N_F[:, part], part).mean(axis=0) for part in columns])


class Space(Protocol):
    """Coordinates in which log-odds of a pair are linear, and which of them a prediction is made of."""

    @property
    def differences(self) -> np.ndarray:
        """[M, r], each turning its sign when left and right change places."""
        ...

    @property
    def spread(self) -> np.ndarray:
        """[r] Σ_m n_m d²."""
        ...

    @property
    def scored(self) -> slice | np.ndarray:
        """The coordinates that predict: all but covariates."""
        ...


@dataclass(frozen=True)
class Subspace:
    """Coordinates in which a head is fitted."""

    differences: np.ndarray  # [M, r] coordinates of left minus right of each pair, covariates behind them
    spread: np.ndarray  # [r] Σ_m n_m d²
    _coordinates: np.ndarray  # [n, r] of the judged responses, without covariates
    _places: tuple[np.ndarray, np.ndarray]  # of left and right of each pair among them, [M]
    _combination: np.ndarray  # [n, r] scaled responses in these sums are the directions
    _rows: np.ndarray
    _scaling: Scaling
    _features: np.ndarray

    @property
    def scored(self) -> slice:
        """The coordinates that a score is made of: all but the covariates."""
        return slice(0, self._combination.shape[1])

    def with_covariates(self, covariates_M_k: np.ndarray, comparisons: Comparisons) -> Subspace:
        """The space with further coordinates that explain judgements and are no part of a score."""
        total_M = comparisons.total[:, None]
        return replace(
            self,
            differences=np.concatenate([self.differences, covariates_M_k], axis=1),
            spread=np.concatenate([self.spread, (total_M * np.square(covariates_M_k)).sum(axis=0)]),
        )

    def sides(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The first coordinates of the left and the right response of each pair, at most [M, most] each."""
        left, right = self._places
        return self._coordinates[left, :most], self._coordinates[right, :most]

    @property
    def width(self) -> int:
        """F, the number of features."""
        return int(self._features.shape[1])

    def weights(self, v_B_r: np.ndarray) -> np.ndarray:
        """Weights on the scaled features, [B, F], of heads given by their coordinates, without covariates."""
        mix_B_N = v_B_r[:, self.scored] @ self._combination.T
        sums = []
        for columns in _columns(self._features.shape[1]):
            sums.append(mix_B_N @ self._scaling.apply(self._features[self._rows, columns], columns))
        return np.concatenate(sums, axis=1)

    def coordinates(self, weights_B_F: np.ndarray) -> np.ndarray:
        """Coordinates, [B, r], of the part of weights on the scaled features that lies in the space.

        Covariates have none, which is 0.
        """
        mix_B_N = np.zeros((len(weights_B_F), len(self._rows)))
        for columns in _columns(self._features.shape[1]):
            scaled_N_f = self._scaling.apply(self._features[self._rows, columns], columns)
            mix_B_N += weights_B_F[:, columns] @ scaled_N_f.T
        found_B_r = np.zeros((len(weights_B_F), len(self.spread)))
        found_B_r[:, self.scored] = mix_B_N @ self._combination
        return found_B_r


def subspace_of(features_N_F: np.ndarray, comparisons: Comparisons, scaling: Scaling) -> Subspace:
    """Reduce the features of judged responses to the coordinates of their differences."""
    rows_n, places = np.unique(np.concatenate([comparisons.left, comparisons.right]), return_inverse=True)
    left, right = places[: len(comparisons)], places[len(comparisons) :]
    contrasts = _contrasts(left, right, comparisons)
    reduce = _exactly if contrasts.q <= MOST_DIRECTIONS else _nearly
    spread_r, combination_n_r, coordinates_n_r = reduce(features_N_F, rows_n, scaling, contrasts)
    return Subspace(
        differences=coordinates_n_r[left] - coordinates_n_r[right],
        spread=spread_r,
        _coordinates=coordinates_n_r,
        _places=(left, right),
        _combination=combination_n_r,
        _rows=rows_n,
        _scaling=scaling,
        _features=features_N_F,
    )


_Reduced = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Spread [r], combination [n, r], coordinates of the responses [n, r]."""


def _exactly(
    features_N_F: np.ndarray, rows_n: np.ndarray, scaling: Scaling, contrasts: _Contrasts
) -> _Reduced:
    """All directions, from the inner products of the responses."""
    projected_n_q = contrasts.after(_gram(features_N_F, rows_n, scaling))
    spread_r, turn_q_r = _principal(contrasts.after(projected_n_q.T))
    return spread_r, contrasts.times(turn_q_r, len(rows_n)), projected_n_q @ turn_q_r


def _nearly(
    features_N_F: np.ndarray, rows_n: np.ndarray, scaling: Scaling, contrasts: _Contrasts
) -> _Reduced:
    """The MOST_DIRECTIONS directions in which differences spread most, found by random projection.

    Halko, Martinsson and Tropp (2011), algorithm 4.4 with one power iteration, in float32.  The ridge leaves
    little of the directions that are lost.
    """
    F, n = features_N_F.shape[1], len(rows_n)
    scaled_n_F = np.concatenate(
        [scaling.apply(features_N_F[rows_n, part], part).astype(np.float32) for part in _columns(F)], axis=1
    )
    contrast_q_F = contrasts.after(scaled_n_F.T).T.astype(np.float32)
    draw = np.random.default_rng(0)
    sketch_F_k = draw.standard_normal((F, min(MOST_DIRECTIONS, F)), dtype=np.float32)
    range_q_k, _ = np.linalg.qr(contrast_q_F @ sketch_F_k)
    range_q_k, _ = np.linalg.qr(contrast_q_F @ (contrast_q_F.T @ range_q_k))
    within_k_F = range_q_k.T @ contrast_q_F
    spread_r, turn_k_r = _principal((within_k_F @ within_k_F.T).astype(np.float64))
    coordinates_n_r = scaled_n_F @ (within_k_F.T @ turn_k_r.astype(np.float32))
    return spread_r, contrasts.times(range_q_k @ turn_k_r, n), coordinates_n_r.astype(np.float64)


def _principal(products_q_q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spread [r], the largest first, and what turns rows into orthonormal directions, [q, r]."""
    spread_q, turn_q_q = np.linalg.eigh(products_q_q)
    keep = spread_q > NOTHING * spread_q.max(initial=1e-300)
    return spread_q[keep][::-1], (turn_q_q[:, keep] / np.sqrt(spread_q[keep]))[:, ::-1]


def _columns(F: int) -> Iterator[slice]:
    for start in range(0, F, CHUNK):
        yield slice(start, min(start + CHUNK, F))


def _gram(features_N_F: np.ndarray, rows_n: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Inner products of scaled responses, [n, n] float64."""
    gram_n_n = np.zeros((len(rows_n), len(rows_n)))
    for columns in _columns(features_N_F.shape[1]):
        part = scaling.apply(features_N_F[rows_n, columns], columns)
        gram_n_n += part @ part.T
    return gram_n_n


@dataclass(frozen=True)
class _Contrasts:
    """R [n, q] with R Rᵀ = Σ_m n_m (e_i − e_j)(e_i − e_j)ᵀ, the Laplacian of the comparisons.

    It falls apart into a small block for each prompt: the rows of its responses, some columns, the values.
    """

    blocks: list[tuple[np.ndarray, slice, np.ndarray]]
    q: int

    def after(self, matrix_m_n: np.ndarray) -> np.ndarray:
        """matrix · R, [m, q]."""
        found_m_q = np.empty((len(matrix_m_n), self.q))
        for members, columns, block in self.blocks:
            found_m_q[:, columns] = matrix_m_n[:, members] @ block
        return found_m_q

    def times(self, matrix_q_r: np.ndarray, n: int) -> np.ndarray:
        """R · matrix, [n, r]."""
        found_n_r = np.zeros((n, matrix_q_r.shape[1]))
        for members, columns, block in self.blocks:
            found_n_r[members] += block @ matrix_q_r[columns]
        return found_n_r


def _contrasts(left: np.ndarray, right: np.ndarray, comparisons: Comparisons) -> _Contrasts:
    """The root of each prompt's Laplacian; it loses a direction for every group that no comparison joins."""
    blocks, q = [], 0
    order = np.argsort(comparisons.prompt, kind="stable")
    ends = np.flatnonzero(np.diff(comparisons.prompt[order])) + 1
    for pairs in np.split(order, ends):
        members, at = np.unique(np.concatenate([left[pairs], right[pairs]]), return_inverse=True)
        i, j, weight = at[: len(pairs)], at[len(pairs) :], comparisons.total[pairs]
        laplacian = np.zeros((len(members), len(members)))
        for sign, a, b in ((1, i, i), (1, j, j), (-1, i, j), (-1, j, i)):
            np.add.at(laplacian, (a, b), sign * weight)
        size, vectors = np.linalg.eigh(laplacian)
        keep = size > 1e-9 * max(size[-1], 1e-9)
        count = int(keep.sum())
        blocks.append((members, slice(q, q + count), vectors[:, keep] * np.sqrt(size[keep])))
        q += count
    return _Contrasts(blocks, q)
