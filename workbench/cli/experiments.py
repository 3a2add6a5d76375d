"""Commands of experiments: over-optimisation against a gold reward model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.protocol.configs import JobConfig, OveroptimiseConfig
from engine.wording import counted
from workbench.cli.data import JsonOption
from workbench.cli.jobs import run_to_end
from workbench.cli.options import job_command
from workbench.cli.output import plain, print_json, print_table
from workbench.cli.session import session

experiment_app = typer.Typer(help="Experiments that are several steps in one.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds the group `experiment`."""
    app.add_typer(experiment_app, name="experiment")
    experiment_app.command("overoptimisation")(job_command(OveroptimiseConfig, overoptimisation))


def overoptimisation(
    config: JobConfig,
    *,
    csv: Annotated[str | None, typer.Option(metavar="FILE", help="Write every point as CSV.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Let a gold reward model label, train proxies on few labels, and see what best of n by them is worth."""
    from workbench.services.gold_curves import curves, write_csv

    detail = run_to_end("overoptimise", config)
    store, run_id = session.workspace().store, detail.run_id
    gold_curves = curves(store, run_id)
    if csv is not None:
        rows = write_csv(store, run_id, Path(csv).expanduser())
        session.narrator.say(f"{counted(rows, 'row')} written to {csv}.")
    if as_json:
        print_json({"run_id": run_id, "curves": plain(gold_curves)})
        return
    print_table(
        ("labels", "n", "√KL", "proxy", "gold", "gold, replicates", "gold highest at √KL"),
        [
            (
                "gold itself" if not one.labels else str(one.labels),
                str(one.points[-1][0]),
                *(f"{value:.2f}" for value in one.points[-1][1:]),
                f"{one.lowest:+.2f} … {one.highest:+.2f}",
                "–" if one.peak is None else f"{one.peak.d:.2f}" + ("" if one.peak.passed else " (the last)"),
            )
            for one in gold_curves
        ],
    )
