"""Commands about what is in the store: import, export, policies, info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import UsageError
from workbench.cli.output import print_json, print_records, print_table
from workbench.cli.session import session

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
export_app = typer.Typer(help="Write data to a file, or a reward model to ONNX.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.command("import")(import_file)
    app.add_typer(export_app, name="export")
    app.command("policies")(policies)
    app.command("info")(info)


def import_file(
    path: Annotated[Path, typer.Argument(help="JSON Lines, CSV or Parquet file.")],
    kind: Annotated[
        str, typer.Option(help="auto, or what the rows are: prompts, responses, rankings, pairs …")
    ] = "auto",
    column: Annotated[
        list[str] | None,
        typer.Option(help="FIELD=COLUMN, where the file names a column otherwise; repeatable."),
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Policy that responses without one belong to.")] = None,
    annotator: Annotated[
        str | None,
        typer.Option(
            help="Annotator of judgements without one; of a column an annotator, the name of their group."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Import prompts, responses and judgements; the same file twice adds nothing."""
    report = session.workspace().library.import_file(
        path,
        kind=kind,
        columns=_columns(column or []),
        policy=policy,
        annotator=annotator,
        on_progress=lambda rows, share: session.narrator.progress(
            "importing", 100 * share, 100, "%", f"{rows:,} rows"
        ),
    )
    session.narrator.end()
    if as_json:
        print_json(report)
    else:
        print(report.sentence)


@export_app.command("data")
def export_data(
    what: Annotated[str, typer.Argument(help="A table, a view, or pairs (prompt, chosen, rejected).")],
    path: Annotated[Path, typer.Argument(help="File that ends in .csv, .parquet or .jsonl.")],
    as_json: JsonOption = False,
) -> None:
    """Write a table, a view or the preference pairs to a file."""
    rows = session.workspace().library.export(what, path)
    if as_json:
        print_json({"what": what, "path": str(path), "rows": rows})
    else:
        print(f"{rows:,} rows of {what} written to {path}.")


def policies(as_json: JsonOption = False) -> None:
    """List the policies and the reward models."""
    library = session.workspace().library
    if as_json:
        print_json({"policies": library.policies(), "reward_models": library.reward_models()})
        return
    print_records(library.policies(), ("name", "model", "parent", "run_id", "responses"), as_json=False)
    print()
    print_records(
        library.reward_models(), ("name", "run_id", "accuracy", "precisions", "created_at"), as_json=False
    )


def info(as_json: JsonOption = False) -> None:
    """Show versions, device, where the store lies and what it holds."""
    from workbench.services.system import system_info

    workspace = session.workspace()
    found: dict[str, Any] = system_info(workspace)
    if as_json:
        print_json(found)
    else:
        print_table(
            ("what", "value"),
            [
                (f"{name} {key}" if name != "workbench" else key, value)
                for name, group in found.items()
                for key, value in group.items()
            ],
        )


def _columns(pairs: list[str]) -> dict[str, str]:
    columns = {}
    for pair in pairs:
        field, separator, name = pair.partition("=")
        if not separator or not field or not name:
            raise UsageError(f"--column takes FIELD=COLUMN, not “{pair}”.")
        columns[field] = name
    return columns
