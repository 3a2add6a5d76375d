"""The application as an annotator of a study that another process serves: one judges, and nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

from textual import work
from textual.screen import Screen

from engine.errors import UsageError
from workbench.app import PLACES, WorkbenchApp
from workbench.messages import Status
from workbench.services.serving.guest import CounterClient, GuestJudging
from workbench.services.workspace import Workspace
from workbench.settings import MEMORY, Settings, load_settings
from workbench.shell import Command
from workbench.start import end_with_terminal
from workbench.themes import THEMES

HERE = "rank"


class GuestApp(WorkbenchApp):
    """Opens where one judges; of every other place it says whose it is."""

    DEFAULT_MODE = HERE
    PLACES = tuple(place for place in PLACES if place.mode == HERE)
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {HERE: WorkbenchApp.MODES[HERE]}

    def on_mount(self) -> None:
        self.refresh_status()

    def elsewhere(self, what: str) -> None:
        """Say whose the store is."""
        sentence = f"{what} belongs to whoever serves this study; here you judge."
        self.tell(sentence, severity="information")

    @work(exclusive=True, group="status")
    async def refresh_status(self) -> None:
        """Counts are the owner's."""
        judging = (await self.opened()).judging
        if isinstance(judging, GuestJudging):
            self.status = Status(store=judging.served_at.name, guest=judging.annotator)

    def action_go(self, mode: str) -> None:
        if mode == HERE:
            super().action_go(mode)
        else:
            self.elsewhere(next(f"“{place.title}”" for place in PLACES if place.mode == mode))

    def action_launch(self, kind: str = "", values: Mapping[str, Any] | None = None) -> None:
        self.elsewhere("Starting jobs")

    def action_import(self) -> None:
        self.elsewhere("Importing")

    def action_disagreements(self) -> None:
        self.elsewhere("What annotators disagree on")

    def action_steps(self) -> None:
        self.elsewhere("Judging steps")

    def action_experiments(self) -> None:
        self.elsewhere("“Experiments”")

    def action_leaderboard(self) -> None:
        self.elsewhere("The leaderboard")

    def action_report(self, reward_model: str = "") -> Any:
        self.elsewhere("The report")

    def action_project(self) -> Any:
        self.elsewhere("The project")

    def commands(self, screen: Screen[Any]) -> Iterator[Command]:
        """What ctrl+p finds: this screen, colours, keys, the end."""
        from workbench.screens.palette import of_screen

        yield from of_screen(self, screen)
        for title, theme in THEMES.items():
            yield Command(title, "Colours", partial(self.action_theme, theme.name))
        yield Command("Keys of this screen", "Help", self.action_help)
        yield Command("Quit", "What you have judged is stored", self.action_quit, goes_somewhere=False)


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
    in_browser = "TEXTUAL_DRIVER" in os.environ  # textual-serve, which draws in a page
    if not in_browser and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("Judging needs a terminal; over SSH, ask for one with -t.")
    settings = load_settings()
    with guest_workspace(settings, at, token) as workspace:
        app = GuestApp(workspace, theme=settings.theme)
        Thread(target=end_with_terminal, args=(app,), name="terminal", daemon=True).start()
        app.run()
        return app.return_code or 0
