"""What breaks on a screen is told and logged, and the application goes on."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from storage.errors import StoreError
from tests.workbench.ui_rank.driving import opened, shown, until
from tests.workbench.ui_rank.fakes import fake_workspace
from workbench.screens.prompts import PromptsScreen
from workbench.services import faults as told

Records = list[logging.LogRecord]


@pytest.mark.faults
@pytest.mark.parametrize(
    "error", [KeyError("x"), ZeroDivisionError("[/x] \x1b]52;c;aGk=\x07"), OverflowError()]
)
async def test_an_action_that_breaks_leaves_the_application_open(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, faults: Records
) -> None:
    def breaks(self: PromptsScreen) -> None:
        raise error

    monkeypatch.setattr(PromptsScreen, "action_search", breaks)
    workspace = fake_workspace()
    workspace.log_folder = tmp_path
    async with opened(workspace, (160, 48)) as (app, pilot):
        await pilot.press("slash")
        await until(pilot, lambda: f"unexpected went wrong ({type(error).__name__}" in shown(app))
        await pilot.press("f3")
        await until(pilot, lambda: app.current_mode == "rank")
    log = tmp_path / told.LOG_NAME
    assert f"raise error\n{type(error).__name__}" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert len(faults) == 1


@pytest.mark.faults
async def test_a_service_that_breaks_in_a_way_nobody_foresaw_is_told(faults: Records) -> None:
    workspace = fake_workspace()
    workspace.library.responses = lambda prompt_id: {}["responses"]
    async with opened(workspace, (160, 48)) as (app, pilot):
        await until(
            pilot, lambda: any("KeyError: 'responses'" in note.message for note in app._notifications)
        )
        assert app.is_running
    assert faults


@pytest.mark.faults
async def test_a_job_list_that_breaks_does_not_end_the_heartbeat() -> None:
    workspace = fake_workspace()
    pump, calls = workspace.jobs.pump, []

    def breaks_once() -> object:
        calls.append(1)
        return pump() if len(calls) > 1 else {}[0]

    workspace.jobs.pump = breaks_once
    async with opened(workspace) as (_, pilot):
        await until(pilot, lambda: len(calls) > 2)


@pytest.mark.faults
def test_errors_have_sentences_by_kind(tmp_path: Path) -> None:
    assert told.sentence(StoreError("The disk is full.")) == "The disk is full."
    assert told.sentence(FileNotFoundError(2, "No such file", "/x")) == "There is no file /x."
    assert told.sentence(ZeroDivisionError()) == "Something unexpected went wrong (ZeroDivisionError)."
    assert told.log(KeyError("x"), None) is None


@pytest.mark.faults
def test_a_log_that_cannot_be_written_is_no_second_fault(tmp_path: Path) -> None:
    told.log(KeyError("x"), tmp_path / "missing")
