"""Pictures of the screens, compared with those looked at: `pytest --snapshot-update` renews them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.workbench.ui_rank.driving import NARROW, WIDE, shown, until
from tests.workbench.ui_rank.fakes import fake_workspace
from tests.workbench.ui_rank.test_rank_live import LEARNED
from workbench.app import WorkbenchApp

SCREENS: dict[str, tuple[tuple[str, ...], str]] = {
    "prompts": ((), "concise-rm"),
    "rank": (("f3",), "Press letters"),
    "rank_placed": (("f3", "WAIT", "b", "equals_sign", "d", "a"), "B = D > A"),
    "rank_live": (("f3",), "held-out 0.71"),
    "compare": (("f6",), "score -0.30"),
    "help": (("f3", "WAIT", "f1"), "Record it, show the next"),
}
"""Keys from the start, and a text that must stand there before the picture is taken."""


def driver(keys: tuple[str, ...], text: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    async def drive(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, WorkbenchApp)
        await until(pilot, lambda: app.status.store != "" and "concise-rm" in shown(app))
        for key in keys:
            if key == "WAIT":
                await until(pilot, lambda: "Press letters" in shown(app))
            else:
                await pilot.press(key)
        await until(pilot, lambda: text in shown(app))

    return drive


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["80x24", "160x48"])
@pytest.mark.parametrize("screen", SCREENS)
def test_picture(screen: str, size: tuple[int, int], snap_compare: Any) -> None:
    keys, text = SCREENS[screen]
    workspace = fake_workspace()
    if screen == "rank_live":
        workspace.live.state = LEARNED
    app = WorkbenchApp(workspace)
    assert snap_compare(app, terminal_size=size, run_before=driver(keys, text))
