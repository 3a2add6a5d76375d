"""Commands for studies of several people: assign, merge, invite, rank."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import UsageError
from engine.wording import counted
from workbench.cli.data import JsonOption
from workbench.cli.output import cell, print_json, print_records, print_table
from workbench.cli.session import session

SHOWN_CONFLICTS = 20
TOKEN_VARIABLE = "WORKBENCH_TOKEN"


def register(app: typer.Typer) -> None:
    """Adds `assign`, `merge`, `invite` and `rank`."""
    app.command("assign")(assign)
    app.command("merge")(merge)
    app.command("invite")(invite)
    app.command("rank")(rank)


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


def invite(
    annotator: Annotated[str, typer.Argument(help="The name under which their judgements are stored.")],
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Let their token count no longer.")] = False,
) -> None:
    """Print a token with which a person judges in this store while “workbench serve --at” holds it.

    The store keeps the token's hash alone. A new token takes the place of the one before. It counts at once,
    also where the store is being served.
    """
    from storage.share.deeds import do

    store = session.reading().store
    if withdraw:
        if not do(store, "withdraw", annotator):
            raise UsageError(f"{annotator} has no token.")
        session.narrator.say(f"The token of {annotator} counts no longer.")
        return
    print(do(store, "invite", annotator))
    session.narrator.say(
        f"Give it to {annotator} alone; they keep it in a file that others cannot read, and judge with "
        "“workbench rank --at SOCKET --token-file FILE”."
    )


def rank(
    at: Annotated[Path, typer.Option("--at", metavar="SOCKET", help="Where the study is served.")],
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"Holds the token; without it, {TOKEN_VARIABLE} does."),
    ] = None,
) -> None:
    """Judge in a study that “workbench serve --at SOCKET” holds: your own queue, under your own name.

    From another machine: ssh -t HOST workbench rank --at SOCKET --token-file FILE.
    """
    from workbench.guest import run_guest

    raise typer.Exit(run_guest(at.absolute(), _token(token_file)))


def _token(file: Path | None) -> str:
    if file is None:
        token = os.environ.get(TOKEN_VARIABLE, "")
    else:
        try:
            token = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"The token cannot be read from {file}: {error}.") from error
    if not token.strip():
        raise UsageError(f"There is no token: name its file with --token-file, or set {TOKEN_VARIABLE}.")
    return token.strip()
