"""The command `gc`: what a store no longer needs, shown with its size, removed when that is said."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from engine.wording import counted
from workbench.cli.data import JsonOption
from workbench.cli.output import cell, print_json
from workbench.cli.session import session

if TYPE_CHECKING:
    from storage.care.garbage import Garbage


def register(app: typer.Typer) -> None:
    """Adds `gc`."""
    app.command("gc")(gc)


def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is shown.")] = False,
    keep_traces: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="DAYS", help="Older token traces of ended runs can go; see docs/settings.md."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what no row of the store refers to, with sizes: old checkpoints, replaced models, half files.

    Also run directories of no run, and token traces by the user's own rule. Only --yes removes.
    """
    from workbench.services.garbage import find, remove

    workspace = session.workspace()
    days = session.settings().keep_traces if keep_traces is None else keep_traces
    found = sorted(find(workspace, days), key=lambda each: (each.what, str(each.path)))
    if as_json:
        print_json(found)
    else:
        _print(found)
    if not found:
        return
    if yes:
        session.narrator.say(f"{size(remove(workspace, found))} removed.")
    else:
        session.narrator.say(f"{size(sum(each.bytes for each in found))} can go; --yes removes it.")


def _print(found: list[Garbage]) -> None:
    """Each kind with its size, then the paths of it."""
    if not found:
        print("Nothing can go.")
    for what, group in groupby(found, key=lambda each: each.what):
        members = list(group)
        total = size(sum(each.bytes for each in members))
        print(f"{cell(what, None)}: {counted(len(members), 'place')}, {total}")
        for each in members:
            print(f"  {size(each.bytes):>9}  {cell(str(each.path), None)}")


def size(number: int) -> str:
    """`512 B`, `3.4 MB`: bytes as people read them, in powers of ten."""
    amount, unit = float(number), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:,.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:,.1f} {unit}"
