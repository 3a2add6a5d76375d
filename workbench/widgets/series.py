"""Numbers over steps, made small enough to draw: pure functions, no Textual."""

from __future__ import annotations

import math
from collections.abc import Sequence

Points = Sequence[tuple[int, float | None]] | Sequence[tuple[float, float]]

METRICS: dict[str, tuple[tuple[str, str], ...]] = {
    "reward": (
        ("train/loss", "training loss"),
        ("heldout/accuracy", "held-out accuracy"),
        ("heldout/log_loss", "held-out log-loss"),
        ("train/accuracy", "training accuracy"),
        ("train/grad_norm", "gradient norm"),
        ("train/learning_rate", "learning rate"),
        ("heldout/score_length_correlation", "score–length correlation"),
    ),
    "ppo": (
        ("ppo/score", "score"),
        ("ppo/kl", "KL a response, nats"),
        ("ppo/entropy", "entropy, nats"),
        ("ppo/clip_fraction", "clip fraction"),
        ("ppo/value_loss", "value loss"),
        ("ppo/length", "length, tokens"),
        ("ppo/stopped", "share stopped"),
        ("ppo/explained_variance", "explained variance"),
        ("ppo/beta", "KL coefficient β"),
    ),
}
"""The metrics worth a chart, by kind of job, in the order of their number keys."""


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
    finite = [(float(step), value) for step, value in points if value is not None and math.isfinite(value)]
    count = len(finite)
    if count <= 2 * buckets:
        return finite
    kept: list[tuple[float, float]] = []
    for bucket in range(buckets):
        part = finite[bucket * count // buckets : (bucket + 1) * count // buckets]
        low = min(range(len(part)), key=lambda i: part[i][1])
        high = max(range(len(part)), key=lambda i: part[i][1])
        kept.extend(part[i] for i in sorted({low, high}))
    return kept


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
