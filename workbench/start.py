"""Start the application: open the store in a thread while Textual is being imported."""

from __future__ import annotations

import sys
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.services.workspace import Workspace
    from workbench.settings import Settings


def open_in_thread(settings: Settings) -> Future[Workspace]:
    """The workspace, being opened.  The thread is a daemon: an interrupted start does not wait for a lock."""
    future: Future[Workspace] = Future()

    def opening() -> None:
        try:
            from workbench.services.workspace import Workspace

            future.set_result(Workspace.open(settings))
        except BaseException as error:
            future.set_exception(error)

    Thread(target=opening, name="open-store", daemon=True).start()
    return future


def run_app(settings: Settings, *, demo: bool = False) -> int:
    """Run the workbench in this terminal until the person quits; the exit code.

    With `demo`, the stages of the demo run as jobs meanwhile.
    """
    future = open_in_thread(settings)
    from workbench.app import WorkbenchApp

    if future.done():
        future.result()  # a store that cannot be opened is told before the screen is taken
    app = WorkbenchApp(future.result, theme=settings.theme, demo=demo)
    app.run()
    if future.done() and future.exception() is None:
        future.result().close()
    sys.stdout.flush()
    return app.return_code or 0
