"""Commands that report on what was made: reward models, judges, ways of judging, experiments, runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli import run_report
from workbench.cli.data import JsonOption
from workbench.cli.output import plain, print_json, print_table
from workbench.cli.session import session

report_app = typer.Typer(
    help="Report on a reward model, a judge, ways of judging, an experiment or a run.", no_args_is_help=True
)
WIDEST = 100
SHOWN_WRONG = 10


def register(app: typer.Typer) -> None:
    """Adds the group `report`, that of a run included."""
    app.add_typer(report_app, name="report")
    run_report.register(report_app)


@report_app.command("judge")
def report_judge(
    name: Annotated[str | None, typer.Argument(help="A judge, ai:NAME; without one, every judge.")] = None,
    criterion: Annotated[str | None, typer.Option(help="Only judgements by this criterion.")] = None,
    as_json: JsonOption = False,
) -> None:
    """How far models that judge agree with people, and which biases they have."""
    calibrating = session.reading().calibrating
    if name is None:
        calibrations = calibrating.all(None if criterion is None else [criterion])
    else:
        calibrations = calibrating.of(name, criterion)
    if as_json:
        extra = [
            {"calibration_error": each.calibration_error, "sentence": each.sentence} for each in calibrations
        ]
        print_json([{**plain(each), **more} for each, more in zip(calibrations, extra, strict=True)])
        return
    from workbench.services.reports.calibration_text import calibration_lines
    from workbench.services.reports.lines import one_line, shown

    if not calibrations:
        session.narrator.say("No model has judged yet; “workbench judge ai” lets one.")
    width = min(WIDEST, max(60, shutil.get_terminal_size((80, 24)).columns)) - 2
    for each in calibrations:
        title = f"{one_line(each.judge)} · {one_line(each.criterion)}"
        print(f"── {title} ".ljust(width + 1, "─"))
        print("\n".join(shown(line) for line in calibration_lines(each, width)))


@report_app.command("ways")
def report_ways(
    name: Annotated[
        str | None, typer.Argument(metavar="[PROJECT]", help="Without one, the one that is followed.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the two ways of judging of a crossed project, as rankings against ratings.

    Reliability, repeats, ties, seconds a judgement, and reward models learned from each on held-out prompts.
    """
    from workbench.cli.project import followed
    from workbench.services.projects.ways_text import columns, rows, sentences

    ways = session.reading().judging.projects.ways(followed(name))
    if as_json:
        print_json(plain(ways))
        return
    print_table(columns(ways), rows(ways))
    for sentence in sentences(ways):
        session.narrator.say(sentence)


@report_app.command("experiment")
def report_experiment(
    name: Annotated[str, typer.Argument(help="Name of the experiment.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to write; else a folder of its name here.")
    ] = None,
    judge: Annotated[
        str,
        typer.Option(help="Who decides: a reward model, people, human, import, ai, rule, or an annotator."),
    ] = "",
) -> None:
    """Write the report of an experiment: a Markdown file and its pictures."""
    from workbench.services.experiments.report import write_report

    result = session.reading().experiments.result(name, judge)
    for file in write_report(result, (out or Path(name)).expanduser()):
        print(file)


@report_app.command("reward")
def report_reward(
    name: Annotated[str, typer.Argument(help="Reward model.")],
    criterion: Annotated[
        str | None, typer.Option(help="Criterion of the judgements; without it the one that was learned.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """How good a reward model is on held-out prompts, beside baselines that know nothing."""
    report = session.reading().reports.reward(name, criterion)
    if as_json:
        print_json(
            {**plain(report), "calibration_error": report.calibration_error, "missing": report.missing}
        )
        return
    from workbench.services.reports.lines import one_line, prose, shown
    from workbench.services.reports.text import BENCHMARKS, heading, notes, sections, wrong_line

    width = min(WIDEST, max(60, shutil.get_terminal_size((80, 24)).columns)) - 2
    print(f"{one_line(name)} · {one_line(report.criterion)} · {heading(report)}")
    for note in notes(report):
        print("\n".join(shown(line) for line in prose(note, width)))
    if report.missing:
        print("\n".join(shown(line) for line in prose(report.missing, width)))
    drawn = sections(report, width)
    for section in [each for each in drawn if each.key == BENCHMARKS] if report.missing else drawn:
        print(f"\n── {section.title} ".ljust(width + 1, "─"))
        print("\n".join(shown(line) for line in section.lines))
    if report.wrong:
        print("\n── Most confidently wrong ".ljust(width + 1, "─"))
        print("  sure  people      scores       prompt")
        for pair in report.wrong[:SHOWN_WRONG]:
            print(shown(wrong_line(pair, width)))
