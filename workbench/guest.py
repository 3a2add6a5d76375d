"""The application as an annotator of a study that another process serves: judging, and an empty store."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread

from engine.errors import UsageError
from workbench.app import WorkbenchApp
from workbench.services.serving.guest import CounterClient, GuestJudging
from workbench.services.workspace import Workspace
from workbench.settings import MEMORY, Settings, load_settings
from workbench.start import end_with_terminal


class GuestApp(WorkbenchApp):
    """Opens where one judges."""

    DEFAULT_MODE = "rank"


def guest_workspace(settings: Settings, at: Path, token: str) -> Workspace:
    """A workspace with an empty store, in which judging is asked of the process that serves at `at`.

    Raises UsageError for a token that opens nothing, WorkbenchError where nobody answers.
    """
    workspace = Workspace.open(replace(settings, db=MEMORY))
    try:
        judging = GuestJudging(workspace.store, CounterClient(at, token))
    except BaseException:
        workspace.close()
        raise
    workspace.judging = judging
    workspace.settings = replace(workspace.settings, annotator=judging.annotator, reveal="never")
    return workspace


def run_guest(at: Path, token: str) -> int:
    """Judge in this terminal until the person quits; the exit code."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("Judging needs a terminal; over SSH, ask for one with -t.")
    settings = load_settings()
    with guest_workspace(settings, at, token) as workspace:
        app = GuestApp(workspace, theme=settings.theme)
        Thread(target=end_with_terminal, args=(app,), name="terminal", daemon=True).start()
        app.run()
        return app.return_code or 0
