"""Policies by Bradley–Terry, with the length of responses as a covariate.

The log-odds that the response of policy a is preferred to that of b are
s_a − s_b + γ log₂(length_a / length_b); a tie is half a win of each (style control as in the arenas, Li et
al., LMSYS, 2024).  s ~ N(0, 1.5²) and γ ~ N(0, 1) keep finite what few pairs leave open.

An interval is the wider of two: that of prompts drawn anew, which knows how prompts differ, and the normal
approximation of the posterior, which knows how few they are; one prompt drawn anew is always the same.

With many prompts a resample's coefficients are one step of Newton's from those of all prompts, by the slope
of the prompts drawn and the curvature of all (the score bootstrap, Kline and Santos, J. Econometric Methods,
2012): what it leaves out falls with the number of prompts.

Shapes: `V` verdicts, `C` policies, `R` resamples, `F` = C + 1 coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

SPREAD, LENGTH_SPREAD = 1.5, 1.0
RESAMPLES, FEWEST, WORK = 500, 100, 3_000_000
"""Resamples at most and at least, and verdicts in all of them together."""
MANY_PROMPTS = 5_000
"""From here on a resample takes one step."""
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
    if not control:
        games = replace(games, doublings=np.zeros(len(games.a)))
    prior = np.append(np.full(policies, SPREAD**-2.0), LENGTH_SPREAD**-2.0)
    fitted_F, precision = _fitted(games, prior, np.zeros(policies + 1))
    centre = np.eye(policies + 1)
    centre[:policies, :policies] -= 1.0 / policies
    deviation = np.sqrt(np.diagonal(centre @ np.linalg.inv(precision) @ centre.T))
    value = centre @ fitted_F
    count = int(max(FEWEST, min(RESAMPLES, WORK // max(1, len(games.a)))))
    drawn = _resampled(games, prior, fitted_F, precision, count, seed) @ centre.T
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    low = np.minimum(low, value - Z_95 * deviation)
    high = np.maximum(high, value + Z_95 * deviation)
    length = (float(value[-1]), float(low[-1]), float(high[-1])) if control else None
    return Strengths(value[:-1], low[:-1], high[:-1], length, count)


def _fitted(games: Games, prior_F: np.ndarray, start_F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Newton's method from `start`: the mode and the precision there."""
    strength_F = start_F
    for _ in range(STEPS):
        chance_V = _chances(games, strength_F)
        slope = _slope(games, games.weight * (games.won - chance_V), prior_F, strength_F)
        precision = _precision(games, games.weight * chance_V * (1.0 - chance_V), prior_F)
        step = np.linalg.solve(precision, slope)
        strength_F = strength_F + step * min(1.0, 3.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < CLOSE:
            break
    return strength_F, precision


def _chances(games: Games, strength_F: np.ndarray) -> np.ndarray:
    """That a's response is preferred, [V]."""
    log_odds_V = strength_F[games.a] - strength_F[games.b] + strength_F[-1] * games.doublings
    return 0.5 * (1.0 + np.tanh(0.5 * log_odds_V))


def _slope(games: Games, rest_V: np.ndarray, prior_F: np.ndarray, strength_F: np.ndarray) -> np.ndarray:
    """Of the log-posterior, where `rest` is the weighted difference of what was said and its chance."""
    policies = len(prior_F) - 1
    by_policy = np.bincount(games.a, rest_V, policies) - np.bincount(games.b, rest_V, policies)
    return np.append(by_policy, rest_V @ games.doublings) - prior_F * strength_F


def _precision(games: Games, curve_V: np.ndarray, prior_F: np.ndarray) -> np.ndarray:
    """Minus the second derivative of the log-posterior, [F, F]."""
    policies = len(prior_F) - 1
    met = np.bincount(games.a * policies + games.b, curve_V, policies**2).reshape(policies, policies)
    met = met + met.T
    long_V = curve_V * games.doublings
    precision = np.diag(prior_F)
    precision[:-1, :-1] += np.diag(met.sum(1)) - met
    mixed = np.bincount(games.a, long_V, policies) - np.bincount(games.b, long_V, policies)
    precision[:-1, -1] += mixed
    precision[-1, :-1] += mixed
    precision[-1, -1] += long_V @ games.doublings
    return precision


def _resampled(
    games: Games, prior: np.ndarray, start: np.ndarray, precision: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """Coefficients on prompts drawn with replacement, [R, F]."""
    _, prompt = np.unique(games.prompt, return_inverse=True)
    prompts = int(prompt.max()) + 1
    rng = np.random.default_rng(seed)
    rest = games.weight * (games.won - _chances(games, start))
    found = []
    for _ in range(count):
        times = np.bincount(rng.integers(0, prompts, prompts), minlength=prompts)[prompt]
        if prompts < MANY_PROMPTS:
            drawn = replace(games, weight=games.weight * times)
            found.append(_fitted(drawn, prior, start)[0])
        else:
            found.append(start + np.linalg.solve(precision, _slope(games, rest * times, prior, start)))
    return np.stack(found)


def islands(games: Games, policies: int) -> np.ndarray:
    """A number for each policy, [C]: the same where comparisons lead from one to the other."""
    island = np.arange(policies)
    for a, b in zip(*np.divmod(np.unique(games.a * policies + games.b), policies), strict=True):
        one, other = island[a], island[b]
        if one != other:
            island[island == max(one, other)] = min(one, other)
    return island
