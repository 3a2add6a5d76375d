"""Drive the application in a test: open it on a fake workspace, press keys, read the screen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from workbench.app import WorkbenchApp

NARROW, WIDE = (80, 24), (160, 48)


@asynccontextmanager
async def opened(
    workspace: Any, size: tuple[int, int] = NARROW
) -> AsyncIterator[tuple[WorkbenchApp, Pilot[None]]]:
    """The application, its list of prompts painted."""
    app = WorkbenchApp(workspace)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: app.status.store != "")
        yield app, pilot


async def until(pilot: Pilot[None], condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until `condition` holds."""
    for _ in range(int(seconds / 0.02)):
        if condition():
            await pilot.pause()
            return
        await pilot.pause(0.02)
    raise AssertionError(f"it did not happen within {seconds} s")


def shown(app: WorkbenchApp) -> str:
    """What stands on the terminal, one string."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text for strip in strips)
