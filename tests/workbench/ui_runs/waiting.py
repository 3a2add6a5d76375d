"""Wait for what a screen shows, since services answer in threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from textual.pilot import Pilot

from tests.workbench.ui_runs.drawn import drawn


async def until(pilot: Pilot[Any], condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Return as soon as `condition` holds; fail with a picture of the screen when it does not come true."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise AssertionError(f"did not come true within {seconds} s:\n{drawn(pilot.app)}")
        await pilot.pause(0.02)
