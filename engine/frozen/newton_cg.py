"""Ridge Bradley–Terry with Davidson's ties, many problems at once.

All problems (folds × strengths, resamples) share the pairs and differ in weights and strength, so that each
step is one matrix product for all of them.  Davidson (1970), eqs. 2.3–2.4, with d = s_i − s_j, η = ln ν:

    P(i wins) = e^{d/2} / Z,  P(j wins) = e^{−d/2} / Z,  P(tie) = ν / Z,  Z = e^{d/2} + e^{−d/2} + ν

which is Bradley–Terry at ν = 0.  The penalised likelihood is convex in (w, η) and minimised by Newton's
method whose steps conjugate gradients find.

Shapes: `M` pairs, `r` coordinates, `B` problems.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.frozen.comparisons import Comparisons

NEWTON_STEPS, CG_STEPS, HALVINGS = 60, 200, 30
ETA_RIDGE = 1e-2
"""Penalty ½·ETA_RIDGE·η²: it keeps ν above 0 in a resample that happens to hold no tie."""


@dataclass(frozen=True)
class Solution:
    """Heads in the coordinates of the space."""

    v: np.ndarray  # [r, B]
    nu: np.ndarray  # [B] Davidson’s ν, 0 without ties


@dataclass
class _State:
    """Value, slopes and curvatures of all problems at one point."""

    value: np.ndarray  # [B]
    slope: np.ndarray  # [M, B] with respect to d
    eta_slope: np.ndarray  # [B]
    curve: np.ndarray  # [M, B]
    cross: np.ndarray  # [M, B]
    eta_curve: np.ndarray  # [B]


class Problems:
    """B problems on the same pairs: minimise Σ_m u_m·nll_m(d_m, η) + ½·λ·‖v‖² (+ ½·ETA_RIDGE·η²)."""

    def __init__(
        self,
        differences_M_r: np.ndarray,
        spread_r: np.ndarray,
        comparisons: Comparisons,
        weights_M_B: np.ndarray,
        strength_B: np.ndarray,
    ) -> None:
        self._D = differences_M_r
        self._spread = spread_r
        self._strength = np.asarray(strength_B, dtype=np.float64)
        self._lean = 0.5 * (comparisons.win - comparisons.loss)[:, None] * weights_M_B
        self._total = comparisons.total[:, None] * weights_M_B
        self._ties_B = (comparisons.tie[:, None] * weights_M_B).sum(axis=0)
        self._mass = comparisons.total.sum()
        self.with_ties = bool((comparisons.tie > 0).any())

    def solve(self, tolerance: float = 1e-6) -> Solution:
        """All minima, to a gradient of `tolerance` times that at the start."""
        B = len(self._strength)
        v_r_B, eta_B = np.zeros((len(self._spread), B)), np.full(B, -1.0 if self.with_ties else -np.inf)
        d_M_B = np.zeros_like(self._total)
        state = self._at(v_r_B, eta_B, d_M_B)
        first = None
        for _ in range(NEWTON_STEPS):
            g_r_B = self._D.T @ state.slope + self._strength * v_r_B
            g_eta_B = state.eta_slope
            size_B = np.sqrt(np.square(g_r_B).sum(axis=0) + np.square(g_eta_B))
            first = np.maximum(size_B, 1e-12) if first is None else first
            if (size_B <= tolerance * first).all():
                break
            step_r_B, step_eta_B = self._newton(state, -g_r_B, -g_eta_B, 0.1 * np.minimum(1, size_B / first))
            slope_B = (g_r_B * step_r_B).sum(axis=0) + g_eta_B * step_eta_B
            move_M_B = self._D @ step_r_B
            length_B = self._search(state, v_r_B, eta_B, d_M_B, step_r_B, step_eta_B, move_M_B, slope_B)
            v_r_B, d_M_B = v_r_B + length_B * step_r_B, d_M_B + length_B * move_M_B
            eta_B = eta_B + length_B * step_eta_B
            state = self._at(v_r_B, eta_B, d_M_B)
            if not length_B.any():
                break
        return Solution(v_r_B, np.exp(eta_B))

    def _at(self, v_r_B: np.ndarray, eta_B: np.ndarray, d_M_B: np.ndarray) -> _State:
        log_z = np.logaddexp(0.5 * d_M_B, -0.5 * d_M_B)
        if self.with_ties:
            log_z = np.logaddexp(log_z, eta_B)
        half = 0.5 * (np.exp(0.5 * d_M_B - log_z) - np.exp(-0.5 * d_M_B - log_z))
        tie = np.exp(eta_B - log_z) if self.with_ties else np.zeros_like(half)
        value = (self._total * log_z - self._lean * d_M_B).sum(axis=0)
        value += 0.5 * self._strength * np.square(v_r_B).sum(axis=0)
        eta = eta_B if self.with_ties else np.zeros_like(eta_B)
        return _State(
            value=value - self._ties_B * eta + 0.5 * ETA_RIDGE * eta**2,
            slope=self._total * half - self._lean,
            eta_slope=(self._total * tie).sum(axis=0) - self._ties_B + ETA_RIDGE * eta,
            curve=self._total * (0.25 * (1 - tie) - half**2),
            cross=-self._total * tie * half,
            eta_curve=(self._total * tie * (1 - tie)).sum(axis=0) + ETA_RIDGE,
        )

    def _newton(
        self, state: _State, b_r_B: np.ndarray, b_eta_B: np.ndarray, tolerance_B: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Solve the Newton equations by preconditioned conjugate gradients, all problems side by side."""
        curve_B = np.maximum(state.curve.sum(axis=0) / self._mass, 1e-12)
        diagonal_r_B = curve_B * self._spread[:, None] + self._strength
        x, x_eta = np.zeros_like(b_r_B), np.zeros_like(b_eta_B)
        rest, rest_eta = b_r_B.copy(), b_eta_B.copy()
        z, z_eta = rest / diagonal_r_B, rest_eta / state.eta_curve
        p, p_eta = z, z_eta
        product_B = (rest * z).sum(axis=0) + rest_eta * z_eta
        goal_B = np.square(tolerance_B) * np.maximum(product_B, 1e-300)
        for _ in range(CG_STEPS):
            if (product_B <= goal_B).all():
                break
            d = self._D @ p
            h = self._D.T @ (state.curve * d + state.cross * p_eta) + self._strength * p
            h_eta = (state.cross * d).sum(axis=0) + state.eta_curve * p_eta
            bend_B = (p * h).sum(axis=0) + p_eta * h_eta
            length_B = np.where(product_B > goal_B, product_B / np.maximum(bend_B, 1e-300), 0.0)
            x, x_eta = x + length_B * p, x_eta + length_B * p_eta
            rest, rest_eta = rest - length_B * h, rest_eta - length_B * h_eta
            z, z_eta = rest / diagonal_r_B, rest_eta / state.eta_curve
            before_B, product_B = product_B, (rest * z).sum(axis=0) + rest_eta * z_eta
            turn_B = product_B / np.maximum(before_B, 1e-300)
            p, p_eta = z + turn_B * p, z_eta + turn_B * p_eta
        return x, x_eta if self.with_ties else np.zeros_like(x_eta)

    def _search(
        self,
        state: _State,
        v_r_B: np.ndarray,
        eta_B: np.ndarray,
        d_M_B: np.ndarray,
        step_r_B: np.ndarray,
        step_eta_B: np.ndarray,
        move_M_B: np.ndarray,
        slope_B: np.ndarray,
    ) -> np.ndarray:
        """Lengths of the step, 1, ½, ¼ …, that lower each value enough (Armijo); 0 where none does."""
        length_B = np.ones_like(slope_B)
        floor_B = 1e-12 * np.abs(state.value)  # below this a difference of values is rounding
        for _ in range(HALVINGS):
            tried = self._at(
                v_r_B + length_B * step_r_B, eta_B + length_B * step_eta_B, d_M_B + length_B * move_M_B
            )
            good_B = tried.value <= state.value + 1e-4 * length_B * slope_B + floor_B
            if good_B.all():
                return length_B
            length_B = np.where(good_B, length_B, 0.5 * length_B)
        return np.where(good_B, length_B, 0.0)
