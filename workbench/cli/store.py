"""Commands about the store as a file: serve, snapshot."""

from __future__ import annotations

import signal
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import UsageError
from engine.wording import counted
from workbench.cli.data import JsonOption
from workbench.cli.output import cell, print_json
from workbench.cli.session import session

if TYPE_CHECKING:
    from workbench.services.serving.counter import Counter
    from workbench.services.workspace import Workspace

LOOK = 0.25  # seconds between looks at the jobs


def register(app: typer.Typer) -> None:
    """Adds `serve` and `snapshot`."""
    app.command("serve")(serve)
    app.command("snapshot")(snapshot)


def serve(
    at: Annotated[
        Path | None,
        typer.Option(metavar="SOCKET", help="Let invited annotators judge through a socket made here."),
    ] = None,
) -> None:
    """Hold the store without a screen: jobs go on, other programs read; Ctrl-C or SIGTERM ends it.

    With --at, annotators judge in terminals of their own: “workbench rank --at SOCKET”.
    """
    workspace = session.workspace()
    if workspace.store.path is None:
        raise UsageError("A store in memory cannot be shared; give a file with --db.")
    ended = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    counter = None if at is None else _counter(workspace, at)
    session.share()
    session.narrator.say(
        f"{workspace.store.path} is held here, and this user's programs may read it; Ctrl-C ends that.\n"
        "“workbench sql --how” says how."
    )
    try:
        while not ended.wait(LOOK):
            workspace.jobs.pump()
    finally:
        if counter is not None:
            counter.close()
    session.narrator.say("The store is closed; running jobs go on, and are found again by the next start.")


def _counter(workspace: Workspace, at: Path) -> Counter:
    """The socket at which annotators ask."""
    from storage.share.invitations import invited
    from workbench.services.serving.counter import Counter
    from workbench.services.serving.desk import Desk

    settings = workspace.settings
    names = invited(workspace.store)
    desk = Desk(workspace.store, settings.criteria, guidelines=settings.guidelines, informed=workspace.live)
    counter = Counter(at.absolute(), workspace.store, desk)
    who = (
        f"{', '.join(names)} can"
        if names
        else "Nobody is invited yet; whom “workbench invite NAME” invites can"
    )
    session.narrator.say(f"{who} judge: workbench rank --at {counter.path}")
    return counter


def snapshot(
    path: Annotated[Path, typer.Argument(help="New file, as study-2026-11-28.duckdb.")],
    as_json: JsonOption = False,
) -> None:
    """Copy the whole store as of one moment to a new file, also while a workbench holds it and jobs write."""
    from storage.transfer.packing import snapshot as written

    def progress(rows: int) -> None:
        session.narrator.progress("copying", rows, unit="rows")

    rows = written(session.reading().store, path, progress)
    session.narrator.end()
    if as_json:
        print_json({"path": str(path), "rows": rows})
    else:
        print(f"{counted(rows, 'row')} copied to {cell(str(path), None)}.")
