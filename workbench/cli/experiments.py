"""Commands of experiments: run files of methods and seeds; over-optimisation of a gold reward model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.protocol.configs import JobConfig, OveroptimiseConfig
from engine.wording import counted
from workbench.cli.data import JsonOption
from workbench.cli.following import follow
from workbench.cli.jobs import run_to_end
from workbench.cli.options import job_command
from workbench.cli.output import plain, print_json, print_records, print_table
from workbench.cli.session import session

if TYPE_CHECKING:
    from workbench.services.overoptimisation.curves import GoldCurve

experiment_app = typer.Typer(help="Experiments that are several steps in one.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the group `experiment`."""
    app.add_typer(experiment_app, name="experiment")
    experiment_app.command("init")(init)
    experiment_app.command("run")(run)
    experiment_app.command("list")(list_experiments)
    experiment_app.command("show")(show)
    experiment_app.command("overoptimisation")(job_command(OveroptimiseConfig, overoptimisation))


def init(path: Annotated[Path, typer.Argument(help="TOML file to write, as methods.toml.")]) -> None:
    """Write a run file to fill in: methods, seeds, settings, and who judges."""
    from workbench.services.experiments.run_file import write_template

    write_template(path)
    print(path)


def run(
    path: Annotated[Path, typer.Argument(help="The run file.")],
    queue_only: Annotated[
        bool, typer.Option("--queue", help="Queue the runs and leave them to the workbench.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and queue nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run what is missing of an experiment: every method with every seed, its responses, the judge's scores.

    The same file again goes on with what stopped or failed, and repeats nothing.
    """
    from workbench.services.experiments.people import ask
    from workbench.services.experiments.planning import plan
    from workbench.services.experiments.run_file import PEOPLE, read
    from workbench.services.experiments.running import queue

    file, text = read(path)
    if dry_run:
        rows = [(one.arm, one.seed, one.role, one.kind) for one in plan(file)]
        columns = ("arm", "seed", "role", "job")
        if as_json:
            print_json([dict(zip(columns, row, strict=True)) for row in rows])
        else:
            print_table(columns, rows)
        return
    workspace = session.workspace()
    queued = queue(workspace.store, workspace.jobs, file, text)
    session.narrator.say(queued.sentence)
    if not queue_only:
        session.share()
        for run_id in queued.runs:
            session.narrator.say(f"Run {run_id}.")
            follow(workspace.jobs, run_id, session.narrator)
        if file.judge == PEOPLE and file.judging:
            asked = ask(
                workspace.store, workspace.judging.projects, queued.name, workspace.settings.annotator
            )
            session.narrator.say(f"{counted(asked.tasks, 'prompt')} to rank: F3 follows “{asked.name}”.")
    _show(queued.name, "", as_json)


def list_experiments(as_json: JsonOption = False) -> None:
    """List the experiments of the store, the newest first."""
    columns = ("name", "judge", "arms", "runs", "done", "waiting", "created_at")
    print_records(session.reading().experiments.listed(), columns, as_json=as_json)


def show(
    name: Annotated[str, typer.Argument(help="Name of the experiment.")],
    judge: Annotated[
        str,
        typer.Option(help="Who decides: a reward model, people, human, import, ai, rule, or an annotator."),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Compare the arms of an experiment: reward, wins, KL, length, seconds, with intervals."""
    _show(name, judge, as_json)


def _show(name: str, judge: str, as_json: bool) -> None:
    from workbench.services.experiments.report import COLUMNS, SCORERS, figures, scorer_figures

    result = session.reading().experiments.result(name, judge)
    if as_json:
        print_json({**plain(result), "notes": result.notes})
        return
    for note in result.notes:
        session.narrator.say(note)
    if answering := [arm for arm in result.arms if not arm.is_reward_model]:
        print_table(("arm", *COLUMNS[1:]), [figures(arm) for arm in answering])
    if scorers := [arm for arm in result.arms if arm.is_reward_model]:
        print_table(("arm", *SCORERS[1:]), [scorer_figures(arm) for arm in scorers])


def overoptimisation(
    config: JobConfig,
    *,
    csv: Annotated[str | None, typer.Option(metavar="FILE", help="Write every point as CSV.")] = None,
    picture: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw all curves on one picture, as SVG.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Let a gold reward model label, train proxies on few labels; see what choosing and learning by them is
    worth.

    Choosing is best of n; a policy learns from each proxy too unless steps is 0.
    """
    from engine.files import write_atomic
    from workbench.services.overoptimisation.curves import curves, write_csv
    from workbench.services.overoptimisation.curves import picture as drawn

    detail = run_to_end("overoptimise", config)
    store, run_id = session.workspace().store, detail.run_id
    gold_curves = curves(store, run_id)
    if csv is not None:
        rows = write_csv(store, run_id, Path(csv).expanduser())
        session.narrator.say(f"{counted(rows, 'row')} written to {csv}.")
    if picture is not None:
        write_atomic(Path(picture).expanduser(), drawn(gold_curves).encode())
        session.narrator.say(f"Drawn: {picture}.")
    if as_json:
        print_json({"run_id": run_id, "curves": plain(gold_curves)})
        return
    print_table(
        ("proxy", "by", "n or step", "√KL", "proxy thinks", "gold", "wins", "tokens", "gold highest at √KL"),
        [_last(one) for one in gold_curves],
    )


def _last(curve: GoldCurve) -> tuple[str, ...]:
    """The end of a curve as a row of the table, and where its gold score is highest."""
    from workbench.services.experiments.results import estimate_text

    last, peak = curve.points[-1], curve.peak
    name = f"{curve.labels} labels" if curve.labels else "gold itself"
    return (
        name if curve.variant == "plain" else f"{name}, {curve.variant}",
        curve.method,
        str(last.at),
        f"{last.sqrt_kl:.2f}",
        f"{last.proxy:.2f}",
        estimate_text(last.gold, signed=True),
        "–" if last.wins is None else f"{100 * last.wins:.0f}%",
        "–" if last.length is None else f"{last.length:.1f}",
        "–" if peak is None else f"{peak.d:.2f}" + ("" if peak.passed else " (the last)"),
    )
