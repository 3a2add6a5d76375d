"""Held-out metrics as artifacts and summaries name them."""

from __future__ import annotations

import math
from collections.abc import Mapping


def heldout_details(metrics: Mapping[str, float]) -> dict[str, float]:
    """`heldout/accuracy` → `heldout_accuracy`: finite ones of all judgements, none of a part of them."""
    return {
        f"heldout_{name.removeprefix('heldout/')}": value
        for name, value in metrics.items()
        if name.startswith("heldout/") and name.count("/") == 1 and math.isfinite(value)
    }
