"""Policies by Bradley–Terry, with the length of responses as a covariate.

The log-odds that the response of policy a is preferred to that of b are
s_a − s_b + γ log₂(length_a / length_b); a tie is half a win of each (style control as in the arenas, Li et
al., LMSYS, 2024).  s ~ N(0, 1.5²) and γ ~ N(0, 1) keep finite what few pairs leave open.

An interval is the wider of two: that of prompts drawn anew, which knows how prompts differ, and the normal
approximation of the posterior, which knows how few they are; one prompt drawn anew is always the same.

Shapes: `V` verdicts, `C` policies, `R` resamples, `F` = C + 1 coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SPREAD, LENGTH_SPREAD = 1.5, 1.0
RESAMPLES, FEWEST, WORK = 500, 100, 3_000_000
"""Resamples at most and at least, and verdicts in all of them together."""
STEPS, CLOSE, Z_95 = 30, 1e-7, 1.959963984540054


@dataclass(frozen=True)
class Games:
    """V verdicts on a response of one policy and a response of another."""

    a: np.ndarray  # [V] int64, number of the policy
    b: np.ndarray
    prompt: np.ndarray  # [V] int64
    won: np.ndarray  # [V] float64: 1 where a's is preferred, 0 where b's is, ½ for a tie
    weight: np.ndarray  # [V] float64
    doublings: np.ndarray  # [V] float64, log₂ of the length of a's response over that of b's


@dataclass(frozen=True)
class Strengths:
    """s of every policy about their mean, and γ, each with a 95 % interval."""

    value: np.ndarray  # [C]
    low: np.ndarray
    high: np.ndarray
    length: tuple[float, float, float] | None  # None without control
    resamples: int


def strengths(games: Games, policies: int, *, control: bool = True, seed: int = 0) -> Strengths:
    """Fit `policies` policies.  control: let length explain what it can."""
    design = np.zeros((len(games.a), policies + 1))
    rows = np.arange(len(games.a))
    np.add.at(design, (rows, games.a), 1.0)
    np.add.at(design, (rows, games.b), -1.0)
    design[:, policies] = games.doublings if control else 0.0
    prior = np.append(np.full(policies, SPREAD**-2.0), LENGTH_SPREAD**-2.0)
    fitted_F, precision = _fitted(design, games.won, games.weight, prior, np.zeros(policies + 1))
    centre = np.eye(policies + 1)
    centre[:policies, :policies] -= 1.0 / policies
    deviation = np.sqrt(np.diagonal(centre @ np.linalg.inv(precision) @ centre.T))
    value = centre @ fitted_F
    count = int(max(FEWEST, min(RESAMPLES, WORK // max(1, len(rows)))))
    drawn = _resampled(design, games, prior, fitted_F, count, seed) @ centre.T
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    low = np.minimum(low, value - Z_95 * deviation)
    high = np.maximum(high, value + Z_95 * deviation)
    length = (float(value[-1]), float(low[-1]), float(high[-1])) if control else None
    return Strengths(value[:-1], low[:-1], high[:-1], length, count)


def _fitted(
    design_V_F: np.ndarray, won_V: np.ndarray, weight_V: np.ndarray, prior_F: np.ndarray, start_F: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method from `start`: the mode and the precision there."""
    strength_F = start_F
    for _ in range(STEPS):
        chance_V = 0.5 * (1.0 + np.tanh(0.5 * (design_V_F @ strength_F)))
        gradient = design_V_F.T @ (weight_V * (won_V - chance_V)) - prior_F * strength_F
        curve_V = weight_V * chance_V * (1.0 - chance_V)
        precision = design_V_F.T @ (design_V_F * curve_V[:, None]) + np.diag(prior_F)
        step = np.linalg.solve(precision, gradient)
        strength_F = strength_F + step * min(1.0, 3.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < CLOSE:
            break
    return strength_F, precision


def _resampled(
    design: np.ndarray, games: Games, prior: np.ndarray, start: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """Coefficients on prompts drawn with replacement, [R, F]."""
    _, prompt = np.unique(games.prompt, return_inverse=True)
    prompts = int(prompt.max()) + 1
    times = np.random.default_rng(seed).multinomial(prompts, np.full(prompts, 1.0 / prompts), count)
    return np.stack(
        [_fitted(design, games.won, games.weight * draw[prompt], prior, start)[0] for draw in times]
    )


def islands(games: Games, policies: int) -> np.ndarray:
    """A number for each policy, [C]: the same where comparisons lead from one to the other."""
    island = np.arange(policies)
    for a, b in set(zip(games.a.tolist(), games.b.tolist(), strict=True)):
        one, other = island[a], island[b]
        if one != other:
            island[island == max(one, other)] = min(one, other)
    return island
