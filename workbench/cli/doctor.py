"""The command `doctor`: a look at everything a store consists of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import UsageError
from workbench.cli.session import session

if TYPE_CHECKING:
    from workbench.services.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Adds `doctor`."""
    app.command("doctor")(doctor)


def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what can be; delete nothing that may be wanted.")
    ] = False,
) -> None:
    """Look for damage: file and log, rows, artifacts, runs, what killed processes left.

    The exit code is 1 when something is not as it should be.
    """
    from storage.care.doctor import Finding, look_at_files, look_inside

    settings = session.settings()
    unrepaired = 0
    file = Path(settings.db).expanduser().absolute()
    if not settings.in_memory and not file.exists() and not Path(f"{file}.wal").exists():
        raise UsageError(f"There is no database {file}.")
    findings = [] if settings.in_memory else list(look_at_files(file, repair=repair))
    damaged = any("is damaged" in finding.sentence and not finding.repaired for finding in findings)
    if not damaged:
        workspace = session.workspace()
        findings += look_inside(workspace.store, repair=repair)
        findings += [Finding(sentence) for sentence in _interrupted(workspace)]
    for finding in findings:
        print(f"{'repaired: ' if finding.repaired else ''}{finding.sentence}")
        unrepaired += not finding.repaired
    if unrepaired:
        raise typer.Exit(1)
    session.narrator.say("Nothing else is wrong." if findings else "Nothing is wrong.")


def _interrupted(workspace: Workspace) -> list[str]:
    """Runs that are marked running while nobody works on them."""
    from engine.protocol.launch import alive

    return [
        f"Run {run.run_id} is marked {run.status} and its worker is gone; "
        "`workbench runs list` records how it ended."
        for run in workspace.jobs.list()
        if run.status == "running" and not (run.pid and alive(run.pid, run.pid_started or 0.0))
    ]
