"""`workbench report run`: what a run ended with, its loss as a formula, its way to over-optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.data import JsonOption
from workbench.cli.output import plain, print_json, print_table
from workbench.cli.session import session

if TYPE_CHECKING:
    from workbench.services.overoptimisation.fits import Fit
    from workbench.services.overoptimisation.ways import Way


def register(report_app: typer.Typer) -> None:
    """Adds `run` to the group of reports."""
    report_app.command("run")(report_run)


def report_run(
    run_id: Annotated[str, typer.Argument(help="Id of the run.")],
    as_json: JsonOption = False,
) -> None:
    """Report on a run: its last figures, its loss as a formula, proxy and gold against √KL."""
    report = session.reading().policy_learning.report(run_id)
    if as_json:
        way = report.overoptimisation
        print_json({**plain(report), "overoptimisation": _way_json(way) if way else None})
        return
    rows: list[tuple[str, Any]] = [("run", report.run_id), ("kind", report.kind), ("name", report.name)]
    rows += [
        ("status", report.status),
        *((f"summary {name}", value) for name, value in report.summary.items()),
    ]
    rows += sorted(report.final_metrics.items())
    print_table(("what", "value"), rows)
    if report.formula is not None:
        print()
        terms = [(term.symbols, term.numbers) for term in report.formula.terms]
        print_table((f"loss of {report.formula.title}", "now"), terms)
    if report.overoptimisation is not None:
        print()
        _print_way(report.overoptimisation)


def _print_way(way: Way) -> None:
    law = "R₀ + d (α − β d)" if way.method == "best of n" else "R₀ + d (α − β ln d)"
    curves = [("proxy", way.proxy, way.proxy_fit), ("gold", way.gold, way.gold_fit)]
    rows = [
        (name, len(pairs), *((fit.alpha, fit.beta, fit.origin, fit.error) if fit else (None,) * 4))
        for name, pairs, fit in curves
        if pairs
    ]
    print_table((f"{law}, d = √KL", "points", "α", "β", "R₀", "rms"), rows)
    if way.peak is not None:
        how = "fitted" if way.peak.fitted else "measured"
        ends = "gold peaks at" if way.peak.passed else "gold still rises; best so far at"
        print(
            f"{ends} √KL {way.peak.d:.3f}, {way.peak.score:.3f} ({how}); the run went to {way.farthest:.3f}."
        )


def _way_json(way: Way) -> dict[str, Any]:
    """The way without what the metrics say already."""

    def curve(pairs: Any, fit: Fit | None) -> dict[str, Any]:
        return {"points": pairs, "fit": {**plain(fit), "peak": fit.peak} if fit else None}

    return {
        "method": way.method,
        "proxy": curve(way.proxy, way.proxy_fit),
        "gold": curve(way.gold, way.gold_fit),
        "peak": plain(way.peak) if way.peak else None,
        "farthest": way.farthest,
    }
