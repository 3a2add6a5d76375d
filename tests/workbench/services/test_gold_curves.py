"""Curves against a gold reward model, read from metrics."""

from __future__ import annotations

import csv
import math
from datetime import datetime
from pathlib import Path

import pytest

from engine.errors import UsageError
from storage import runs
from storage.store import Store
from workbench.services.gold_curves import curves, write_csv

NOW = datetime(2026, 1, 1)


def test_curves_are_means_over_replicates_with_their_fit(tmp_path: Path) -> None:
    with Store.open(":memory:") as store:
        with pytest.raises(UsageError, match="no proxies"):
            curves(store, "overoptimise-1")
        rows = []
        for n in (1, 2, 4, 8, 16, 32):
            d = math.sqrt(math.log(n) - (n - 1) / n)
            for replicate, shift in ((0, -0.1), (1, 0.1)):
                name = f"gold_curves/50/{replicate}"
                rows += [
                    ("overoptimise-1", n, n, f"{name}/proxy", 2.0 * d, NOW),
                    ("overoptimise-1", n, n, f"{name}/gold", d * (2.0 - 0.9 * d) + shift, NOW),
                ]
        runs.insert_metrics(store, rows)
        (found,) = curves(store, "overoptimise-1")
        assert (found.labels, found.replicates) == (50, 2)
        assert found.fit is not None
        assert (found.fit.alpha, found.fit.beta) == (pytest.approx(2.0), pytest.approx(0.9))
        assert found.peak is not None
        assert found.peak.passed
        assert found.peak.d == pytest.approx(2.0 / 1.8)
        assert found.highest - found.lowest == pytest.approx(0.2)
        path = tmp_path / "curves.csv"
        assert write_csv(store, "overoptimise-1", path) == 12
        with path.open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert lines[0].keys() == {"labels", "replicate", "n", "kl", "sqrt_kl", "proxy", "gold"}
        assert float(lines[-1]["kl"]) == pytest.approx(math.log(32) - 31 / 32)
