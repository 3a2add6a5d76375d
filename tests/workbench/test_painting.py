"""What is painted when little has changed, and behind what."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual._compositor import Compositor

from tests.workbench.ui_runs.fakes import workspace
from tests.workbench.ui_runs.waiting import until
from workbench.app import WorkbenchApp
from workbench.messages import CurrentJob
from workbench.screens.prompts import PromptsScreen


@pytest.mark.parametrize("form", [False, True])
async def test_progress_of_a_job_paints_one_line(form: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    painted = []
    full = Compositor.render_full_update

    def counted(self: Compositor, *arguments: object, **options: object) -> object:
        painted.append(self)
        return full(self, *arguments, **options)  # type: ignore[arg-type]

    app = WorkbenchApp(workspace())
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.status.store != "")
        if form:
            app.action_launch("generate")
            await until(pilot, lambda: not app.screen.keys_wait)  # type: ignore[attr-defined]
        await pilot.pause(0.2)
        monkeypatch.setattr(Compositor, "render_full_update", counted)
        app.status = replace(app.status, job=CurrentJob("a run", "sampling", 0.25))
        await pilot.pause(0.2)
        assert "25%" in str(app.screen.query_one("StatusLine").render())
    assert not painted


async def test_a_screen_behind_an_opaque_one_knows_its_size_when_it_comes_back() -> None:
    app = WorkbenchApp(workspace())
    async with app.run_test(size=(160, 40)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, PromptsScreen) and app.screen.has_class("-wide"))
        app.action_launch("generate")
        await until(pilot, lambda: not isinstance(app.screen, PromptsScreen))
        assert app._background_screens == []
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        app.pop_screen()
        await until(pilot, lambda: isinstance(app.screen, PromptsScreen))
        await until(pilot, lambda: app.screen.size.width == 80 and not app.screen.has_class("-wide"))
