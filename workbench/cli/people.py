"""Commands for studies of several people: assign, merge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.wording import counted
from workbench.cli.data import JsonOption
from workbench.cli.output import cell, print_json, print_records, print_table
from workbench.cli.session import session

SHOWN_CONFLICTS = 20


def register(app: typer.Typer) -> None:
    """Adds `assign` and `merge`."""
    app.command("assign")(assign)
    app.command("merge")(merge)


def assign(
    annotators: Annotated[
        list[str] | None,
        typer.Argument(metavar="ANNOTATOR…", help="Only these annotators; without, all of the project."),
    ] = None,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the packages go.")] = Path("."),
    project: Annotated[
        str | None, typer.Option(help="A project; without it, the one that is followed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write each annotator's package: a store of its own with their queue of a project, to judge in."""
    from workbench.services.people import People

    made = People(session.reading()).assign(to, project, annotators or ())
    if as_json:
        print_json(made)
        return
    print_records(made, ("annotator", "path", "entries"), as_json=False)
    session.narrator.say(
        "Each opens theirs with “workbench --db FILE” and judges (F3); “workbench merge FILE…” brings the "
        "judgements back."
    )


def merge(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Other stores, or packages.")],
    as_json: JsonOption = False,
) -> None:
    """Take in all prompts, responses, judgements and ended runs of other stores; twice adds nothing."""
    from workbench.services.people import People

    reports = People(session.workspace()).merge(paths)
    if as_json:
        print_json(reports)
        return
    for report in reports:
        added = [counted(number, "row") + f" of {table}" for table, number in report.added.items()]
        print(f"{cell(report.path, None)}: {', '.join(added) or 'nothing new'}.")
        if report.unfinished:
            print(f"Left out, as not yet ended: {counted(report.unfinished, 'run')}.")
        if report.conflicts:
            print(f"{counted(len(report.conflicts), 'row')} in which the stores differ:")
            shown = report.conflicts[:SHOWN_CONFLICTS]
            print_table(
                ("table", "key", "differs in", "kept"),
                [(each.table, each.key, ", ".join(each.columns), each.kept) for each in shown],
            )
            if len(report.conflicts) > len(shown):
                print(f"… and {len(report.conflicts) - len(shown)} more; --json lists them.")
