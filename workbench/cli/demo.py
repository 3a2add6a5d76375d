"""The command `demo`: the whole loop, in the workbench or as plain lines with a table at the end."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.data import JsonOption
from workbench.cli.output import print_json, print_table
from workbench.cli.session import session

if TYPE_CHECKING:
    from workbench.services.demo import Demo, DemoTable, StageUpdate


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="Print stages and a table, also in a terminal.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the whole loop on SmolLM2-135M: rankings, reward model, ONNX, PPO, comparison.

    Without --db it works on a store of its own, demo.duckdb in the data folder.
    """
    from workbench.settings import default_db_path

    session.db = session.db or str(default_db_path().with_name("demo.duckdb"))
    if not headless and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
        from workbench.start import run_app

        raise typer.Exit(run_app(session.settings(), demo=True))

    from workbench.services.demo import Demo

    started = time.monotonic()
    running = Demo(session.workspace())
    session.narrator.say(f"The demo works on {session.db}.")
    _follow(running)
    table = running.table()
    wall = time.monotonic() - started
    if as_json:
        print_json({"table": table, "wall_seconds": wall})
    else:
        print_table(("", "before PPO", "after PPO"), _rows(table, wall))


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


def _rows(table: DemoTable, wall: float) -> list[tuple[str, Any, Any]]:
    def around(value: float, error: float) -> str:
        return f"{value:.3f} ± {error:.3f}"

    def number(value: float | None, digits: int = 3) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    rows: list[tuple[str, Any, Any]] = [
        ("mean score ± standard error", *_before_after(table, around)),
        ("  after − before, paired by prompt", "", around(table.difference, table.difference_error)),
        ("KL to the start, nats a response", "0", f"{number(table.kl)} (bound {table.kl_bound:g})"),
        ("length, tokens", number(table.tokens_before, 1), number(table.tokens_after, 1)),
        ("win rate against the start [95 %]", "", _win_rate(table)),
        ("reward model: held-out accuracy", number(table.accuracy), ""),
        ("reward model: held-out log-loss", number(table.log_loss), ""),
    ]
    for precision, figures in sorted(table.onnx.items()):
        rows.append(
            (f"ONNX {precision} against torch: largest difference", _figure(figures, "max_difference"), "")
        )
        rows.append((f"ONNX {precision} against torch: Kendall τ", _figure(figures, "kendall_tau"), ""))
    rows += [(f"seconds: {stage}", f"{seconds:.0f}", "") for stage, seconds in table.seconds.items()]
    rows.append(("seconds: this call", f"{wall:.0f}", ""))
    return rows


def _before_after(table: DemoTable, around: Any) -> tuple[str, str]:
    return (
        around(table.score_before, table.score_before_error),
        around(table.score_after, table.score_after_error),
    )


def _win_rate(table: DemoTable) -> str:
    if table.win_rate is None or table.win_low is None or table.win_high is None:
        return "–"
    return f"{table.win_rate:.3f} [{table.win_low:.3f}, {table.win_high:.3f}]"


def _figure(figures: dict[str, Any], name: str) -> str:
    value = figures.get(name)
    return f"{value:.2g}" if isinstance(value, float) else "–" if value is None else str(value)
