"""The command `doctor`: a look at everything a store consists of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.errors import UsageError
from workbench.cli.session import session


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what can be; what may be wanted is kept.")
    ] = False,
) -> None:
    """Look for damage: file and log, rows, artifacts, runs, what killed processes left.

    The exit code is 1 when something is not as it should be.
    """
    from storage.doctor import look_at_files, look_inside

    settings = session.settings()
    found = 0
    file = Path(settings.db).expanduser().absolute()
    if not settings.in_memory and not file.exists() and not Path(f"{file}.wal").exists():
        raise UsageError(f"There is no database {file}.")
    findings = [] if settings.in_memory else list(look_at_files(file, repair=repair))
    damaged = any("is damaged" in finding.sentence and not finding.repaired for finding in findings)
    if not damaged:
        findings += look_inside(session.workspace().store)
    for finding in findings:
        print(f"{'repaired: ' if finding.repaired else ''}{finding.sentence}")
        found += not finding.repaired
    if found:
        raise typer.Exit(1)
    session.narrator.say("Nothing else is amiss." if findings else "Nothing is amiss.")
