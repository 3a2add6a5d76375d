"""The command `demo`: the whole loop, in the workbench or as plain lines with a table at the end."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.data import JsonOption
from workbench.cli.output import print_json, print_table
from workbench.cli.session import session
from workbench.demo_rows import COLUMNS, summary_rows

if TYPE_CHECKING:
    from workbench.services.demo import Demo, DemoTable, StageUpdate


def register(app: typer.Typer) -> None:
    """Adds `demo`."""
    app.command("demo")(demo)


def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="Print stages and a table, also in a terminal.")
    ] = False,
    small: Annotated[
        bool, typer.Option("--small", help="The same stages with about a third of the work.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the whole loop on SmolLM2-135M: rankings, reward model, ONNX, PPO, comparison.

    Without --db it works on a store of its own, demo.duckdb in the data folder.
    """
    from workbench.settings import default_db_path

    session.db = session.db or str(default_db_path().with_name("demo.duckdb"))
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    small = small or _is_small_enough(asking=terminal and not as_json)
    if not headless and not as_json and terminal:
        from workbench.start import run_app

        raise typer.Exit(run_app(session.settings(), demo="small" if small else "whole"))

    from workbench.services.demo import Demo, DemoPlan

    started = time.monotonic()
    running = Demo(session.workspace(), DemoPlan.small() if small else None)
    session.share()
    session.narrator.say(f"The demo works on {session.db}.")
    _follow(running)
    table = running.table()
    wall = time.monotonic() - started
    if as_json:
        print_json({"table": table, "wall_seconds": wall})
    else:
        print_table(COLUMNS, _rows(table, wall))


def _is_small_enough(*, asking: bool) -> bool:
    """Whether a person, told that the demo takes long here, takes the smaller one; False without a person."""
    from workbench.services.demo_time import demo_time

    session.narrator.say("Measuring how fast this machine multiplies …")
    expected = demo_time()
    if expected is None or not expected.is_long:
        return False
    session.narrator.say(expected.sentence)
    return asking and typer.confirm("Run the small one?", default=True, err=True)


def _follow(running: Demo) -> None:
    """Narrate the stages; Ctrl-C stops the job that runs."""
    try:
        for update in running.run():
            _narrate(update)
    except KeyboardInterrupt:
        if running.current_run is not None:
            from workbench.cli.following import stop

            session.narrator.say(f"Stopping {running.current_run}; “workbench demo” goes on from here.")
            stop(session.workspace().jobs, running.current_run)
        raise


def _narrate(update: StageUpdate) -> None:
    stage = f"[{update.number}/{update.of}] {update.title}"
    if update.state == "done":
        session.narrator.say(f"{stage}: {update.detail}")
    else:
        done = None if update.progress is None else 100 * update.progress
        session.narrator.progress(f"{stage}: {update.detail}", done, 100, "%", update.rate)


def _rows(table: DemoTable, wall: float) -> list[tuple[str, str, str]]:
    times = [(f"seconds: {stage}", f"{seconds:.0f}", "") for stage, seconds in table.seconds.items()]
    return [*summary_rows(table), *times, ("seconds: this call", f"{wall:.0f}", "")]
