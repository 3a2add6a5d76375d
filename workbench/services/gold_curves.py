"""Over-optimisation against a gold reward model: curves of best of n by proxies, their fits, and a file.

Gao, Schulman and Hilton (arXiv 2210.10760); the fit of a curve is that of `overoptimisation`.
"""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from engine.errors import UsageError
from engine.files import write_atomic
from storage import rollouts
from storage.rollouts import GoldPoint
from storage.store import Store
from workbench.services.overoptimisation import Fit, Peak, find_peak, fit


@dataclass(frozen=True)
class GoldCurve:
    """Best of n by proxies of one number of labels: means over replicates, and the fit of the gold scores."""

    labels: int
    """0: the gold model chooses itself."""
    replicates: int
    points: tuple[tuple[int, float, float, float], ...]
    """(n, √KL, proxy, gold), by n; scores in standard deviations within a prompt."""
    lowest: float
    highest: float
    """Gold score of the largest n, by the worst and the best replicate."""
    fit: Fit | None
    peak: Peak | None


def curves(store: Store, run_id: str) -> list[GoldCurve]:
    """The curves of a run by number of labels.  Raises UsageError when it has measured none."""
    by_count = rollouts.gold_curves(store, run_id)
    if not by_count:
        raise UsageError(f"Run {run_id} has measured no proxies of a gold reward model.")
    by_labels: dict[int, list[GoldPoint]] = {}
    for point in by_count:
        by_labels.setdefault(point.labels, []).append(point)
    return [_curve(labels, points) for labels, points in sorted(by_labels.items())]


def _curve(labels: int, same_count: list[GoldPoint]) -> GoldCurve:
    by_n: dict[int, list[GoldPoint]] = {}
    for point in same_count:
        by_n.setdefault(point.n, []).append(point)
    points = tuple(
        (n, some[0].sqrt_kl, fmean(p.proxy or 0.0 for p in some), fmean(p.gold or 0.0 for p in some))
        for n, some in sorted(by_n.items())
    )
    last = [point.gold or 0.0 for point in by_n[points[-1][0]]]
    gold = [(d, score) for _, d, _, score in points]
    fitted = fit("best of n", gold)
    return GoldCurve(labels, len(last), points, min(last), max(last), fitted, find_peak(gold, fitted))


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
