"""`workbench evaluate reward`: a reward model on files of other people's judgements."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.data import JsonOption
from workbench.cli.output import print_json
from workbench.cli.session import session

evaluate_app = typer.Typer(help="Measure a reward model on benchmarks.", no_args_is_help=True)
WIDEST = 100


def register(app: typer.Typer) -> None:
    """Adds the group `evaluate`."""
    app.add_typer(evaluate_app, name="evaluate")


@evaluate_app.command("reward")
def evaluate_reward(
    name: Annotated[str, typer.Argument(help="Reward model that was exported.")],
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="FILE|PRESET",
            help="File, folder or pattern of judgements, or the preset of a data set on the hub; repeatable. "
            "Without it, what was measured before.",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only rows of this split, as test or filtered.")] = None,
    criterion: Annotated[
        str | None,
        typer.Option(help="Criterion of the judgements; without it overall, or what the file judges by."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, help="At most this many prompts, the same each time; 0 takes all.")
    ] = 0,
    precision: Annotated[
        str | None,
        typer.Option(help="Without it the quickest that was exported.", metavar="int8|fp16|fp32"),
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="ROLE=COLUMN, as for workbench import; repeatable.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="TOML file with a table [mapping] of the same.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Read the file as this data set.")] = None,
    source: Annotated[str | None, typer.Option(help="Name under which the figures are kept.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of text that is not UTF-8: cp1252, latin-1 …")] = None,
    as_json: JsonOption = False,
) -> None:
    """Accuracy of a reward model on a benchmark, by subset, beside the longer response; imports nothing."""
    from workbench.cli.importing import asked_for
    from workbench.services.reports.benchmark_text import benchmark_lines, benchmark_title
    from workbench.services.reports.evaluating import BenchmarkRequest
    from workbench.services.reports.lines import shown

    evaluating = (session.workspace() if on else session.reading()).evaluating
    if on:
        asked = asked_for(mapping, column or [], "auto", preset, None, None, "overall", source, encoding)
        how = BenchmarkRequest(asked, criterion, split, limit)
        benchmarks = [evaluating.reward(name, on, how, precision=precision, on_progress=_tell)]
        session.narrator.end()
    else:
        benchmarks = evaluating.listed(name)
    if as_json:
        print_json(benchmarks[0] if on else benchmarks)
        return
    if not benchmarks:
        session.narrator.say(f"{name} has been measured on no benchmark; give one with --on FILE.")
    width = min(WIDEST, max(60, shutil.get_terminal_size((80, 24)).columns)) - 2
    for number, each in enumerate(benchmarks):
        print(("\n" if number else "") + f"── {benchmark_title(each)} ".ljust(width + 1, "─"))
        print("\n".join(shown(line) for line in benchmark_lines(each, width)))


def _tell(stage: str, done: float, total: float) -> None:
    session.narrator.progress(stage, done, total, "%" if stage == "reading" else "responses")
