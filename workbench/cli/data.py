"""Commands about what is in the store: import, export, policies, info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import UsageError
from engine.wording import counted
from workbench.cli.output import print_json, print_records, print_table
from workbench.cli.session import session

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
export_app = typer.Typer(help="Write data to a file, or a reward model to ONNX.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds `import`, `export`, `policies` and `info`."""
    app.command("import")(import_file)
    app.add_typer(export_app, name="export")
    app.command("policies")(policies)
    app.command("info")(info)


def import_file(
    paths: Annotated[
        list[str], typer.Argument(metavar="FILE…", help="Files, folders or patterns; - for standard input.")
    ],
    kind: Annotated[
        str, typer.Option(help="auto, or what the rows are: prompts, responses, ranked, pairs …")
    ] = "auto",
    column: Annotated[
        list[str] | None,
        typer.Option(help="ROLE=COLUMN, as prompt=question or responses=answers[].text; repeatable."),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="TOML file with a table [mapping] of the same.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Read the file as this data set; see docs/formats.md.")
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Policy that responses without one belong to.")] = None,
    annotator: Annotated[
        str | None,
        typer.Option(
            help="Annotator of judgements without one; of a column an annotator, the name of their group."
        ),
    ] = None,
    criterion: Annotated[str, typer.Option(help="Criterion of judgements without one.")] = "overall",
    source: Annotated[str | None, typer.Option(help="Name under which the prompts are found again.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of text that is not UTF-8: cp1252, latin-1 …")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse the file for one row that cannot be read.")
    ] = False,
    most_bad: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of rows that may be left out before the file is refused."),
    ] = 0.5,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would come in; change nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Import prompts, responses and judgements; the same file twice adds nothing."""
    from workbench.cli.importing import asked_for, print_outlook, print_report
    from workbench.services.importing import outlook

    asked = asked_for(mapping, column or [], kind, preset, policy, annotator, criterion, source, encoding)
    importing = session.workspace().importing
    plan = importing.propose(paths, asked)
    if dry_run:
        print_outlook(outlook(plan), as_json)
        return
    report = importing.run(plan, strict=strict, most_bad=most_bad, on_progress=_show_progress)
    session.narrator.end()
    if as_json:
        print_json(report)
    else:
        print_report(report)


def _show_progress(rows: int, share: float) -> None:
    session.narrator.progress("importing", 100 * share, 100, "%", counted(rows, "row"))


@export_app.command("data")
def export_data(
    what: Annotated[str, typer.Argument(help="A table, a view, or pairs (prompt, chosen, rejected).")],
    path: Annotated[
        Path,
        typer.Argument(
            help="File that ends in .csv, .tsv, .parquet or .jsonl; with --as also .json, or a folder."
        ),
    ],
    layout: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="FORMAT", help="Layout of another tool, as trl-preference; docs/formats.md."
        ),
    ] = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Number the annotators; leave out ids, sources and notes.")
    ] = False,
    spreadsheet: Annotated[
        bool, typer.Option("--spreadsheet", help="CSV of which a spreadsheet runs no cell.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a table, a view or the preference pairs to a file, or what another tool reads."""
    library = session.reading().library
    if layout is None:
        if anonymous or spreadsheet:
            raise UsageError("--anonymous and --spreadsheet go with --as FORMAT.")
        rows = library.export(what, path)
        result: dict[str, Any] = {"what": what, "path": str(path), "rows": rows}
    else:
        done = library.export_as(what, path, layout, anonymous=anonymous, spreadsheet=spreadsheet)
        rows = done.rows
        result = {"what": what, "path": str(path), "rows": rows, "format": layout, "left_out": done.left_out}
    if as_json:
        print_json(result)
        return
    print(f"{counted(rows, 'row')} of {what} written to {path}.")
    for reason, number in result.get("left_out", {}).items():
        print(f"Left out, as {layout} has no place for it: {reason}: {number:,}.")


def policies(as_json: JsonOption = False) -> None:
    """List the policies and the reward models."""
    library = session.reading().library
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

    workspace = session.reading()
    details: dict[str, Any] = system_info(workspace)
    if as_json:
        print_json(details)
    else:
        print_table(
            ("what", "value"),
            [
                (f"{name} {key}" if name != "workbench" else key, value)
                for name, group in details.items()
                for key, value in group.items()
            ],
        )
