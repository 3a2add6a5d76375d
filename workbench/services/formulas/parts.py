"""Parts of a formula, and how its numbers are written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Figures = Mapping[str, Any]
MINUS = "−"


@dataclass(frozen=True, slots=True)
class Term:
    """One line of the formula: in symbols, in numbers, in words."""

    symbols: str
    numbers: str
    meaning: str


def number(value: Any, digits: int = 4) -> str:
    """Four figures, a real minus sign; a dash for what is not known."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}g}".replace("-", MINUS)


def percent(value: Any) -> str:
    """A share as 12.3 %; a dash where it is unknown or not finite."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.1f}%"
