"""Start the application: the store opens in a thread while Textual is imported; end with the terminal."""

from __future__ import annotations

import os
import select
import sys
import time
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from storage.share.sharing import Share
    from workbench.app import WorkbenchApp
    from workbench.services.workspace import Workspace
    from workbench.settings import Settings

TERMINAL_GONE = 129  # as if ended by SIGHUP
POLL_MILLISECONDS = 1000
GRACE_SECONDS = 3.0


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


def run_app(settings: Settings, *, demo: Literal["whole", "small"] | None = None) -> int:
    """Run the workbench in this terminal until the person quits; the exit code.

    With `demo`, the stages of the demo of that size run as jobs meanwhile.
    """
    future = open_in_thread(settings)
    from workbench.app import WorkbenchApp

    if future.done():
        future.result()  # a store that cannot be opened is told before the screen is taken
    shares: list[Share] = []

    def after_paint() -> None:
        Thread(target=share_store, args=(app, shares), name="share-store", daemon=True).start()

    app = WorkbenchApp(future.result, theme=settings.theme, demo=demo, after_paint=after_paint)
    Thread(target=end_with_terminal, args=(app,), name="terminal", daemon=True).start()
    app.run()
    if app.return_code == TERMINAL_GONE:
        # Threads may still be in the store, and closing it under them can crash.  What Python flushes at its
        # end has nowhere to go: it would exit with 120.
        for share in shares:
            share.token_path.unlink(missing_ok=True)
        os._exit(TERMINAL_GONE)
    for share in shares:
        share.close()
    if future.done() and future.exception() is None:
        future.result().close()
    sys.stdout.flush()
    return app.return_code or 0


def share_store(app: WorkbenchApp, shares: list[Share]) -> None:
    """Let other processes read the store while this one holds it; the workbench works without it too.

    What came back of a log that was not whole is told on the way.
    """
    workspace = app.workspace
    if workspace.store.recovered is not None:
        app.call_from_thread(app.tell, workspace.store.recovered.sentence, severity="warning")
    if workspace.settings.in_memory:
        return
    from storage.errors import StoreError
    from storage.share.sharing import share

    try:
        shares.append(share(workspace.store))
    except (StoreError, OSError) as error:
        app.call_from_thread(app.tell, error, severity="warning")


def end_with_terminal(app: WorkbenchApp) -> None:
    """End the application when its terminal has gone.

    Textual reads an abandoned terminal for ever, and the process would go on holding the store.  Whatever the
    screen has acknowledged is committed, so leaving at once loses nothing.
    """
    poller = select.poll()
    poller.register(
        sys.__stdin__.fileno() if sys.__stdin__ else 0, 0
    )  # errors and hang-up are always reported
    while not poller.poll(POLL_MILLISECONDS):
        pass
    app.call_later(app.exit, return_code=TERMINAL_GONE)
    time.sleep(GRACE_SECONDS)
    os._exit(TERMINAL_GONE)
