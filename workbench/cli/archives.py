"""Commands that carry a run elsewhere: bundle, unbundle, mirror."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from engine.wording import counted
from workbench.cli.data import JsonOption
from workbench.cli.output import cell, print_json
from workbench.cli.session import session

LOOK = 2.0  # seconds between looks at runs that are followed


def register(app: typer.Typer) -> None:
    """Adds `bundle`, `unbundle` and `mirror`."""
    app.command("bundle")(bundle)
    app.command("unbundle")(unbundle)
    app.command("mirror")(mirror)


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
    from workbench.services.runs.reproduction import bundle as packed

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
    from workbench.services.runs.reproduction import STORE
    from workbench.services.runs.reproduction import unbundle as unpacked

    made = unpacked(path, folder)
    if as_json:
        print_json(made)
        return
    print(f"{counted(made.files, 'file')}, {made.bytes / 1e6:,.1f} MB, unpacked to {cell(made.path, None)}.")
    session.narrator.say(f"workbench --db {folder / STORE} report run {made.run_id}")


def mirror(
    run_ids: Annotated[list[str], typer.Argument(metavar="RUN…", help="Ids of runs.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="TRACKER[:PLACE]",
            help="tensorboard:FOLDER, trackio:PROJECT or wandb:PROJECT; the place is named after the store.",
        ),
    ],
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the runs have ended.")] = False,
) -> None:
    """Give the metrics of runs to another tracker, also beside the workbench that holds the store.

    What was given before is not given again.
    """
    from workbench.services.runs.mirroring import mirror as given
    from workbench.services.runs.mirroring import target_of
    from workbench.services.runs.pumping import ENDED

    workspace = session.reading()
    kind, place = target_of(to, workspace.store)
    count = 0
    while True:
        if not workspace.relayed:
            workspace.jobs.pump()
        statuses = [workspace.jobs.show(run_id).status for run_id in run_ids]
        count += sum(given(workspace.store, run_id, kind, place) for run_id in run_ids)
        if not follow or all(status in ENDED for status in statuses):
            break
        time.sleep(LOOK)
    session.narrator.say(f"{counted(count, 'value')} given to {kind}, {place}.")
