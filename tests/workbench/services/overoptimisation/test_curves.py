"""Curves against a gold reward model, read from metrics, and their picture."""

from __future__ import annotations

import csv
import math
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engine.errors import UsageError
from storage import runs
from storage.store import Store
from workbench.services.overoptimisation.curves import curves, picture, write_csv
from workbench.services.overoptimisation.ways import Overoptimisation
from workbench.services.statistics import t_quantile

NOW = datetime(2026, 1, 1)


def best_of_n(n: int) -> float:
    return math.sqrt(math.log(n) - (n - 1) / n)


def rows_of(labels: int) -> list[tuple[str, int, int, str, float, datetime]]:
    """Figures whose laws are known, of two replicates: 0.1 above and below."""
    rows = []
    for replicate, shift in ((0, -0.1), (1, 0.1)):
        name = f"gold_curves/{labels}/{replicate}"
        for n in (1, 2, 4, 8, 16, 32):
            d = best_of_n(n)
            figures = {"proxy": 2.0 * d, "gold": d * (2.0 - 0.9 * d) + shift, "length": 20.0 + replicate}
            rows += [("r", n, n, f"{name}/{figure}", value, NOW) for figure, value in figures.items()]
            rows.append(("r", n, n, f"{name}/gold/bon/minimum", d, NOW))
        for step in range(1, 7):
            d = 0.5 * step
            figures = {
                "kl": d**2,
                "proxy": d,
                "gold": d * (1.5 - math.log(d)) + shift,
                "wins": 0.5 + 0.25 * replicate,
            }
            rows += [
                ("r", 90 + step, step, f"{name}/{f}/rl/plain", value, NOW) for f, value in figures.items()
            ]
    return rows


def test_curves_are_means_over_replicates_with_their_fits(tmp_path: Path) -> None:
    with Store.open(":memory:") as store:
        with pytest.raises(UsageError, match="no proxies"):
            curves(store, "r")
        runs.insert_metrics(store, rows_of(50))
        plain, cautious, learned = curves(store, "r")
        assert (plain.labels, plain.replicates, plain.method, plain.variant) == (50, 2, "best of n", "plain")
        assert plain.fit is not None
        assert (plain.fit.alpha, plain.fit.beta) == (pytest.approx(2.0), pytest.approx(0.9))
        assert plain.peak is not None
        assert plain.peak.passed
        assert plain.peak.d == pytest.approx(2.0 / 1.8)
        assert plain.highest - plain.lowest == pytest.approx(0.2)
        last = plain.points[-1]
        assert (last.at, last.length, last.wins) == (32, 20.5, None)
        assert last.gold.low is not None
        half = t_quantile(1) * 0.1  # of two values 0.2 apart the mean has a standard error of 0.1
        assert last.gold.mean - last.gold.low == pytest.approx(half)
        assert (cautious.variant, cautious.points[-1].gold.mean) == ("minimum", pytest.approx(best_of_n(32)))
        assert (learned.method, [point.at for point in learned.points]) == (
            "policy learning",
            [1, 2, 3, 4, 5, 6],
        )
        assert learned.points[-1].sqrt_kl == pytest.approx(3.0)
        assert learned.points[-1].wins == pytest.approx(0.625)
        assert learned.fit is not None
        assert (learned.fit.alpha, learned.fit.beta) == (pytest.approx(1.5), pytest.approx(1.0))
        path = tmp_path / "curves.csv"
        assert write_csv(store, "r", path) == 12 + 12 + 12
        with path.open(newline="") as file:
            lines = list(csv.DictReader(file))
        columns = "method variant labels replicate n step kl sqrt_kl proxy gold length wins"
        assert list(lines[0]) == columns.split()
        assert float(lines[-1]["kl"]) == pytest.approx(9.0)


def test_the_screen_of_proxy_and_gold_has_a_way_for_each_curve() -> None:
    with Store.open(":memory:") as store:
        runs.insert_run(store, "r", "overoptimise", {})
        assert Overoptimisation(store).ways(["r"]) == []
        runs.insert_metrics(store, rows_of(50))
        ways = Overoptimisation(store).ways(["r"])
        assert [(way.name, way.method) for way in ways] == [
            ("50 labels", "best of n"),
            ("50 labels minimum", "best of n"),
            ("50 labels", "policy learning"),
        ]
        assert ways[2].farthest == pytest.approx(3.0)
        assert ways[0].peak is not None


def test_a_picture_has_both_methods_and_a_line_for_each_number_and_variant() -> None:
    with Store.open(":memory:") as store:
        runs.insert_metrics(store, rows_of(50) + rows_of(200))
        svg = ElementTree.fromstring(picture(curves(store, "r")))
    texts = [one.text for one in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"best of n", "policy learning", "50 labels", "200 labels", "50 labels, minimum"} <= set(texts)
    dots = svg.findall("{http://www.w3.org/2000/svg}circle")
    assert len(dots) == 2 * (6 + 6 + 6)
    for dot in dots:
        assert 0 < float(dot.get("cx", "")) < 720
        assert 0 < float(dot.get("cy", "")) < 420
