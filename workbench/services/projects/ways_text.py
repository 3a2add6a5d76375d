"""The comparison of two ways of judging as rows of a table and sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from engine.wording import counted
from workbench.services.ranking.draft import MODES

if TYPE_CHECKING:
    from engine.labels.agreement import Coefficient
    from engine.labels.crossed import Contrast
    from workbench.services.projects.ways import Timing, Ways

Row = tuple[str, str, str, str]
"""What it is, in the first way, in the second, and the second less the first."""


def columns(ways: Ways) -> Row:
    """Names of the table's columns."""
    return ("", title(ways.first), title(ways.second), "difference")


def title(way: str) -> str:
    """A way of judging as a person reads it, `rankings`."""
    return MODES[way].lower()  # type: ignore[index]


def rows(ways: Ways) -> list[Row]:
    """Every figure with its 95 % interval."""
    judged, seconds = ways.judged, ways.seconds
    table: list[Row] = [
        ("judgements", f"{judged[0]:,}", f"{judged[1]:,}", ""),
        _row("reliability (Krippendorff's α)", ways.reliability),
        _row("the same again", ways.repeats),
        _row("pairs called equal", ways.ties),
        ("seconds a judgement", _timing(seconds[0]), _timing(seconds[1]), _timing(ways.ratio, "× ", 2)),
    ]
    if ways.models is not None:
        names = {ways.first: title(ways.first), ways.second: title(ways.second)}
        for measured, each in ways.models.accuracy.items():
            table.append(_row(f"reward model, held-out {names.get(measured, measured)}", each))
        table += [
            _row(f"log-loss, held-out {names.get(measured, measured)}", each)
            for measured, each in ways.models.log_loss.items()
        ]
    return table


def sentences(ways: Ways) -> list[str]:
    """What the table is of, what lies across the ways, and what is missing."""
    people = "by the same people" if ways.same_people else "each prompt by others"
    said = [
        f"{ways.project}: {title(ways.first)} against {title(ways.second)}, {people}; "
        f"{counted(ways.annotators, 'annotator')}, {counted(ways.prompts, 'prompt')}."
    ]
    if not math.isnan(ways.across.value):
        whose = "the same person's" if ways.same_people else "another person's"
        said.append(
            f"A verdict in one way agrees with {whose} in the other on "
            f"{coefficient(ways.across)} of the pairs, a tie against a preference one half."
        )
    if math.isnan(ways.reliability.difference.value):
        said.append(
            "α needs pairs that two annotators have judged in one way: an overlap of 2, and both ways judged."
        )
    if math.isnan(ways.repeats.difference.value):
        said.append("Whether the same is said again needs repeats in the project's file.")
    if not ways.over_people:
        said.append("Intervals of time are over judgements: so few people say nothing of others.")
    if ways.models is not None:
        said.append(
            f"Reward models are heads on {ways.models.base}, learned from each way on the same splits of "
            f"{counted(ways.models.prompts, 'prompt')}; their figures are shares of held-out pairs ordered "
            "as was said, and nats. Their intervals resample prompts, not the learning."
        )
    return [*said, ways.missing] if ways.missing else said


def as_text(ways: Ways, room: int = 120) -> str:
    """Sentences and table as plain text; in less than the table takes, each figure below its name."""
    table = [columns(ways), *rows(ways)]
    widths = [max(len(row[place]) for row in table) for place in range(4)]
    below = sum(widths) + 6 > room
    lines = []
    for label, *cells in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths[1:], strict=True)).rstrip()
        lines += [label, f"  {line}"] if below else [f"{label.ljust(widths[0])}  {line}"]
    return "\n".join([*(line for line in lines if line), "", *sentences(ways)])


def _row(label: str, each: Contrast) -> Row:
    return (label, coefficient(each.first), coefficient(each.second), coefficient(each.difference, sign="+"))


def coefficient(estimate: Coefficient, sign: str = "") -> str:
    """`0.61 (0.52…0.70)`; a dash where nothing tells."""
    if math.isnan(estimate.value):
        return "–"
    value, low, high = (f"{x:{sign}.2f}" for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low}…{high})"


def _timing(each: Timing | None, mark: str = "", digits: int = 1) -> str:
    if each is None:
        return "–"
    if math.isnan(each.low):
        return f"{mark}{each.value:.{digits}f}"
    return f"{mark}{each.value:.{digits}f} ({each.low:.{digits}f}…{each.high:.{digits}f})"
