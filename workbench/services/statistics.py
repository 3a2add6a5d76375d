"""Intervals and standard errors behind the numbers that the workbench shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

Z_95 = 1.959963984540054


def wilson_interval(successes: float, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927); ties may count one half each.  (0, 1) without trials.

    Unlike p ± z·√(p(1−p)/n) it never leaves [0, 1] and has width at p = 0 and p = 1.
    """
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    scale = 1.0 + z * z / trials
    centre = (share + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error s/√n (s with n − 1); NaN for the error of fewer than two values."""
    count = len(values)
    if count == 0:
        return math.nan, math.nan
    mean = math.fsum(values) / count
    if count == 1:
        return mean, math.nan
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return mean, math.sqrt(variance / count)


def t_quantile(degrees: float) -> float:
    """t with P(|T| ≤ t) = 0.95 of Student's distribution with so many degrees of freedom, 1 at least.

    With t = √ν tan θ, P is ∫ cos^(ν−1) over (0, θ), scaled to 1 at π/2 (Simpson's rule, halving).
    """
    if degrees > 1000:
        return Z_95
    log_scale = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(math.pi) / 2

    def held(theta: float, parts: int = 100) -> float:
        step = theta / parts
        weights = (1 if k in (0, parts) else 4 if k % 2 else 2 for k in range(parts + 1))
        total = math.fsum(w * math.cos(k * step) ** (degrees - 1) for k, w in enumerate(weights))
        return 2 * math.exp(log_scale) * total * step / 3

    low, high = 0.0, math.pi / 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle) < 0.95 else (low, middle)
    return math.sqrt(degrees) * math.tan((low + high) / 2)


@dataclass(frozen=True)
class MeanInterval:
    """A mean with its 95 % interval."""

    mean: float
    low: float | None
    high: float | None
    """None where one value alone tells nothing of how far it may be off."""
    seeds: int
    prompts: int

    def bounded(self, low: float, high: float) -> MeanInterval:
        """The same with an interval that stays within bounds."""
        if self.low is None or self.high is None:
            return self
        return replace(self, low=max(low, self.low), high=min(high, self.high))


def over_seeds_and_prompts(values: Mapping[tuple[int, str], float]) -> MeanInterval | None:
    """Mean over seeds and prompts with an interval that counts the chance of both; None without values.

    Both are random and crossed: y = μ + seed + prompt + rest.  Of S × P values the variance of their mean is
    (MS_seed + MS_prompt − MS_rest) / SP in mean squares (Searle, Casella & McCulloch 1992, §4.3), with
    Satterthwaite's degrees of freedom; it is never taken below that of the seeds or the prompts alone.
    Prompts that lack a seed are left out.  With one seed, or one prompt, the other alone is counted.
    """
    seeds = sorted({seed for seed, _ in values})
    prompts = [p for p in dict.fromkeys(p for _, p in values) if all((seed, p) in values for seed in seeds)]
    if not prompts:
        return None
    rows = [[values[seed, prompt] for prompt in prompts] for seed in seeds]
    S, P = len(seeds), len(prompts)
    mean = math.fsum(map(math.fsum, rows)) / (S * P)
    of_seed = [math.fsum(row) / P for row in rows]
    of_prompt = [math.fsum(row[p] for row in rows) / S for p in range(P)]
    squares = [
        (P * math.fsum((m - mean) ** 2 for m in of_seed), S - 1),
        (S * math.fsum((m - mean) ** 2 for m in of_prompt), P - 1),
        (
            math.fsum(
                (rows[s][p] - of_seed[s] - of_prompt[p] + mean) ** 2 for s in range(S) for p in range(P)
            ),
            (S - 1) * (P - 1),
        ),
    ]
    square = [total / free if free else 0.0 for total, free in squares]
    total = max(square[0] + square[1] - square[2], square[0], square[1])
    if max(S, P) == 1:
        return MeanInterval(mean, None, None, S, P)
    spread = math.fsum(ms**2 / free for ms, (_, free) in zip(square, squares, strict=True) if free)
    degrees = max(1.0, total**2 / spread) if spread > 0 else 1.0
    half = t_quantile(degrees) * math.sqrt(total / (S * P))
    return MeanInterval(mean, mean - half, mean + half, S, P)
