"""A sample of long parametrised tests by default; the gate runs all cases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def sampled(cases: Iterable[Any], *kept: Any) -> list[Any]:
    """Every case as a parameter, marked slow unless it is one of `kept`.

    ValueError where one of those is no case: it would then be tried nowhere.
    """
    cases = list(cases)
    if unknown := [one for one in kept if one not in cases]:
        raise ValueError(f"{unknown} are not among {cases}")
    return [one if one in kept else pytest.param(one, marks=pytest.mark.slow) for one in cases]
