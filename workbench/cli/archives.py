"""Commands that carry a run elsewhere: bundle, unbundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.wording import counted
from workbench.cli.data import JsonOption
from workbench.cli.output import cell, print_json
from workbench.cli.session import session


def register(app: typer.Typer) -> None:
    """Adds `bundle` and `unbundle`."""
    app.command("bundle")(bundle)
    app.command("unbundle")(unbundle)


def bundle(
    run_id: Annotated[str, typer.Argument(help="Id of a run that has ended.")],
    path: Annotated[
        Path | None, typer.Argument(help="New file, as ppo.zip; without one, the run's id.")
    ] = None,
    models: Annotated[
        bool, typer.Option("--models", help="Pack the models too that the run has made.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Pack a run into one archive: what it read, what it said, and a store in which its figures stand.

    The store holds all prompts, responses, judgements and scores, and of the runs this one and those that it
    builds on.
    """
    from workbench.services.reproduction import bundle as packed

    workspace = session.reading()
    made = packed(workspace.store, workspace.jobs, run_id, path or Path(f"{run_id}.zip"), models=models)
    if as_json:
        print_json(made)
    else:
        print(
            f"{counted(made.files, 'file')}, {made.bytes / 1e6:,.1f} MB, packed into {cell(made.path, None)}."
        )


def unbundle(
    path: Annotated[Path, typer.Argument(help="An archive that bundle has made.")],
    folder: Annotated[Path, typer.Argument(help="New folder.")],
    as_json: JsonOption = False,
) -> None:
    """Unpack a run into a new folder, each file checked against its hash, and say how to open it."""
    from workbench.services.reproduction import STORE
    from workbench.services.reproduction import unbundle as unpacked

    made = unpacked(path, folder)
    if as_json:
        print_json(made)
        return
    print(f"{counted(made.files, 'file')}, {made.bytes / 1e6:,.1f} MB, unpacked to {cell(made.path, None)}.")
    session.narrator.say(f"workbench --db {folder / STORE} report run {made.run_id}")
