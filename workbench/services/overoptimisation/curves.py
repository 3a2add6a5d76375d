"""Over-optimisation against a gold reward model: curves by proxies, their fits and intervals, and a file.

Gao, Schulman and Hilton (arXiv 2210.10760); the fit of a curve is that of `overoptimisation_fits`.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from engine.errors import UsageError
from engine.files import write_atomic
from storage import rollouts
from storage.rollouts import GoldPoint
from storage.store import Store
from workbench.services.experiments.pictures import Line, curves_picture
from workbench.services.overoptimisation.fits import Fit, Method, Peak, find_peak, fit
from workbench.services.statistics import MeanInterval, over_seeds_and_prompts

BEST_OF_N: Method = "best of n"
LEARNED: Method = "policy learning"
PLAIN = "plain"
DASHES = ("", "6 3", "2 3", "8 3 2 3")


@dataclass(frozen=True)
class GoldCurvePoint:
    """A place on a curve: n of best of n, or a step of the policy; means over replicates."""

    at: int
    sqrt_kl: float
    proxy: float
    gold: MeanInterval
    """Its interval is over replicates, which differ in labels and in chance; none of one replicate."""
    length: float | None
    wins: float | None
    """How often the judge prefers it to the first policy."""


@dataclass(frozen=True)
class GoldCurve:
    """Proxies of one number of labels, one variant and one method."""

    method: Method
    variant: str
    labels: int
    """0: the gold model chooses itself."""
    replicates: int
    points: tuple[GoldCurvePoint, ...]
    """By n or step."""
    lowest: float
    highest: float
    """Gold score of the last point, by the worst and the best replicate."""
    fit: Fit | None
    """Of the gold scores of all replicates."""
    proxy_fit: Fit | None
    peak: Peak | None


def curves(store: Store, run_id: str) -> list[GoldCurve]:
    """The curves of a run by method, variant and number of labels.

    Raises UsageError when it has measured none.
    """
    points = rollouts.gold_curves(store, run_id)
    if not points:
        raise UsageError(f"Run {run_id} has measured no proxies of a gold reward model.")
    alike: dict[tuple[str, str, int], list[GoldPoint]] = defaultdict(list)
    for point in points:
        alike[point.method, point.variant, point.labels].append(point)
    order = sorted(alike, key=lambda key: (key[0] != BEST_OF_N, key[1] != PLAIN, key[1], key[2]))
    return [_curve(alike[key]) for key in order]


def _curve(points: Sequence[GoldPoint]) -> GoldCurve:
    by_place: dict[int, list[GoldPoint]] = defaultdict(list)
    for point in points:
        by_place[point.n or point.step or 0].append(point)
    placed = tuple(_placed(at, some) for at, some in sorted(by_place.items()))
    first = points[0]
    method = LEARNED if first.method == LEARNED else BEST_OF_N
    gold = [(p.sqrt_kl, p.gold) for p in points if p.sqrt_kl is not None and p.gold is not None]
    proxy = [(p.sqrt_kl, p.proxy) for p in points if p.sqrt_kl is not None and p.proxy is not None]
    last = [point.gold or 0.0 for point in by_place[placed[-1].at]]
    fitted = fit(method, gold)
    means = [(point.sqrt_kl, point.gold.mean) for point in placed]
    return GoldCurve(
        method, first.variant, first.labels, len({p.replicate for p in points}), placed, min(last), max(last),
        fitted, fit(method, proxy), find_peak(means, fitted),
    )  # fmt: skip


def _placed(at: int, points: Sequence[GoldPoint]) -> GoldCurvePoint:
    gold = over_seeds_and_prompts({(p.replicate, ""): p.gold or 0.0 for p in points})
    assert gold is not None
    return GoldCurvePoint(
        at,
        fmean(p.sqrt_kl or 0.0 for p in points),
        fmean(p.proxy or 0.0 for p in points),
        gold,
        _mean(p.length for p in points),
        _mean(p.wins for p in points),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def write_csv(store: Store, run_id: str, path: Path) -> int:
    """Every point of every replicate as CSV, whole or not at all; the number of rows."""
    rows = [asdict(point) for point in rollouts.gold_curves(store, run_id)]
    if not rows:
        raise UsageError(f"Run {run_id} has measured no proxies of a gold reward model.")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())
    return len(rows)


def picture(found: Sequence[GoldCurve]) -> str:
    """SVG: best of n on the left, policies that learn on the right; gold scores with intervals over
    replicates, and thin what the proxies think of themselves.  Variants differ in their dashes.
    """
    numbers = sorted({curve.labels for curve in found if curve.labels})
    variants = list(dict.fromkeys(curve.variant for curve in found))
    panels = []
    for method in (BEST_OF_N, LEARNED):
        lines: list[Line] = []
        for curve in (one for one in found if one.method == method):
            name = f"{curve.labels} labels" if curve.labels else "gold itself"
            name += "" if curve.variant == PLAIN else f", {curve.variant}"
            colour = 7 if not curve.labels else numbers.index(curve.labels) % 7
            dash = DASHES[variants.index(curve.variant) % len(DASHES)]
            points = sorted(curve.points, key=lambda point: point.sqrt_kl)
            lines.append(Line(name, tuple((p.sqrt_kl, p.gold) for p in points), colour, dash))
            if curve.labels and curve.variant == PLAIN:
                thought = [(p.sqrt_kl, MeanInterval(p.proxy, None, None, 1, 1)) for p in points]
                lines.append(Line("what a proxy thinks", tuple(thought), 7, "1 3", strong=False))
        if lines:
            panels.append((method, lines))
    return curves_picture(
        "Gold score against distance", panels, "√KL, √nats", "standard deviations within a prompt"
    )
