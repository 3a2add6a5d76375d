"""Shares and figures with their intervals as text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.labels.agreement import Coefficient


def percent(value: float | None) -> str:
    """A share in whole per cent; empty where nothing tells."""
    return "" if value is None or math.isnan(value) else f"{100 * value:.0f}%"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval in per cent: `82% (71–90)`."""
    if value is None or low is None or high is None or math.isnan(value):
        return ""
    return f"{100 * value:.0f}% ({100 * low:.0f}–{100 * high:.0f})"


def figure(estimate: Coefficient) -> str:
    """A coefficient with its interval: `0.61 (0.52 to 0.70)`."""
    if math.isnan(estimate.value):
        return "not defined"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
