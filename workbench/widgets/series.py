"""Numbers over steps, made small enough to draw: pure functions, no Textual."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

Points = Sequence[tuple[int, float | None]] | Sequence[tuple[float, float]]

LEARNING = (
    ("policy/score", "score"),
    ("policy/kl", "KL a response, nats"),
    ("policy/entropy", "entropy, nats"),
    ("policy/gold", "gold score"),
    ("policy/clip_fraction", "clip fraction"),
    ("policy/value_loss", "value loss"),
    ("policy/length", "length, tokens"),
    ("policy/stopped", "share stopped"),
    ("policy/explained_variance", "explained variance"),
    ("policy/beta", "KL coefficient β"),
    ("policy/policy_loss", "policy loss"),
    ("policy/grad_norm", "gradient norm"),
    ("policy/objective", "objective"),
    ("policy/kl_goal", "goal of the KL, nats"),
)
IMITATION = (
    ("train/loss", "training loss"),
    ("heldout/loss", "held-out loss"),
    ("heldout/accuracy", "held-out accuracy"),
    ("heldout/margin", "held-out margin"),
    ("heldout/perplexity", "held-out perplexity"),
    ("train/accuracy", "training accuracy"),
    ("train/margin", "training margin"),
    ("train/perplexity", "training perplexity"),
    ("train/grad_norm", "gradient norm"),
    ("train/learning_rate", "learning rate"),
)
METRICS: dict[str, tuple[tuple[str, str], ...]] = {
    "reward": (
        ("train/loss", "training loss"),
        ("heldout/accuracy", "held-out accuracy"),
        ("heldout/log_loss", "held-out log-loss"),
        ("curve/accuracy", "learning curve, accuracy"),
        ("train/accuracy", "training accuracy"),
        ("train/grad_norm", "gradient norm"),
        ("train/learning_rate", "learning rate"),
        ("heldout/score_length_correlation", "score–length correlation"),
    ),
    "ppo": LEARNING,
    "grpo": LEARNING,
    "rloo": LEARNING,
    "online_dpo": LEARNING,
    "nash_md": LEARNING,
    "sft": IMITATION,
    **dict.fromkeys(("dpo", "simpo", "cpo", "orpo", "kto"), IMITATION),
    "best_of_n": (
        ("bon/proxy", "proxy score"),
        ("bon/gold", "gold score"),
        ("bon/kl", "KL bound, nats"),
        ("bon/objective", "objective"),
    ),
}
"""The metrics worth a chart, by kind of job, in the order of their number keys."""

SMOOTHINGS = (0.0, 0.6, 0.9, 0.97)
"""Weights of the past that the smoothing key goes through; 0 draws what was measured."""


@dataclass(frozen=True, slots=True)
class Lens:
    """What part of a chart is looked at, as shares of its whole width, and how much it is smoothed."""

    low: float = 0.0
    high: float = 1.0
    smoothing: float = 0.0

    NARROWEST: ClassVar[float] = 1 / 64

    @property
    def whole(self) -> bool:
        """Whether nothing is cut off on either side."""
        return self.low <= 0 and self.high >= 1

    def zoomed(self, factor: float) -> Lens:
        """`factor` < 1 looks closer; a view that touched the newest step goes on doing so."""
        width = min(1.0, max(self.NARROWEST, (self.high - self.low) * factor))
        if self.high >= 1 and not self.whole:
            return replace(self, low=1 - width, high=1.0)
        return self._at((self.low + self.high - width) / 2, width)

    def panned(self, by: float) -> Lens:
        """Move by `by` widths of the view; it stops at the ends."""
        width = self.high - self.low
        return self._at(self.low + by * width, width)

    def smoother(self) -> Lens:
        """The next of SMOOTHINGS, round the end."""
        place = SMOOTHINGS.index(self.smoothing) if self.smoothing in SMOOTHINGS else 0
        return replace(self, smoothing=SMOOTHINGS[(place + 1) % len(SMOOTHINGS)])

    def _at(self, low: float, width: float) -> Lens:
        low = min(max(0.0, low), 1 - width)
        return replace(self, low=low, high=low + width)

    def limits(self, first: float, last: float) -> tuple[float, float]:
        """The steps at the edges of the view."""
        return first + self.low * (last - first), first + self.high * (last - first)


def ema(points: Sequence[tuple[float, float]], weight: float) -> list[tuple[float, float]]:
    """Exponential moving average with weight `weight` on the past, corrected for its start (Adam's way).

    The first value is the first point's, and a constant stays what it is.
    """
    if weight <= 0:
        return list(points)
    smoothed, mean, past = [], 0.0, 1.0
    for step, value in points:
        mean = weight * mean + (1 - weight) * value
        past *= weight
        smoothed.append((step, mean / (1 - past)))
    return smoothed


def finite(points: Points) -> list[tuple[float, float]]:
    """Without values that are missing or not finite."""
    return [(float(step), value) for step, value in points if value is not None and math.isfinite(value)]


def between(points: Sequence[tuple[float, float]], low: float, high: float) -> list[tuple[float, float]]:
    """The points with low ≤ step ≤ high; points stand in order of steps."""
    return list(points[bisect_left(points, (low, -math.inf)) : bisect_right(points, (high, math.inf))])


def charted(kind: str, available: Sequence[str]) -> list[tuple[str, str]]:
    """(metric, title) of at most nine charts: the known ones that a run has, else whatever it reports."""
    known = [(name, title) for name, title in METRICS.get(kind, ()) if name in available]
    named = {name for name, _ in METRICS.get(kind, ())}
    others = [(name, name) for name in sorted(available) if name not in named]
    return (known + (others if not known else []))[:9]


def decimate(points: Points, buckets: int) -> list[tuple[float, float]]:
    """At most `2 · buckets` points that draw the same picture: lowest and highest of each bucket, in order.

    Values that are missing or not finite are left out.
    """
    kept_points = finite(points)
    count = len(kept_points)
    if count <= 2 * buckets:
        return kept_points
    shown: list[tuple[float, float]] = []
    for bucket in range(buckets):
        part = kept_points[bucket * count // buckets : (bucket + 1) * count // buckets]
        low = min(range(len(part)), key=lambda i: part[i][1])
        high = max(range(len(part)), key=lambda i: part[i][1])
        shown.extend(part[i] for i in sorted({low, high}))
    return shown


def nice_ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """At most `most` round numbers (1, 2, 5 · 10ⁿ apart) inside [low, high]; whole numbers when `whole`."""
    span = high - low
    if not math.isfinite(span) or span <= 0 or most < 1:
        return [low]
    interval = 10.0 ** math.floor(math.log10(span / most))
    for factor in (1, 2, 5, 10, 20, 50):
        step = interval * factor
        if whole and step < 1:
            continue
        first = math.ceil(low / step - 1e-9)
        last = math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [min(max(n * step, low), high) for n in range(first, last + 1)] or [low]
    return [low, high]


def short_number(value: float | None) -> str:
    """Three or four figures, at most nine characters: what a person needs to read off a chart."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if size != 0 and (size < 0.001 or size >= 1e6):
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
    if size >= 1000:
        return f"{value:.0f}"
    if float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:.3f}" if size < 10 else f"{value:.1f}"
