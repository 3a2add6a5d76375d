"""Lines of a report: spans of text with a role, bars that show an interval, columns that keep their width.

The command line prints the text; a screen gives each role a colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size

from storage.interchange.clean import clean_text
from storage.measures.report_records import Figure

Span = tuple[str, str]
"""Text and role: '' plain, muted, strong, model, baseline, people, warning."""
Line = tuple[Span, ...]

SHADES = " ▁▂▃▄▅▆▇█"
SHORTEST_BAR = 6
ROOMY = 64
"""From this width on, intervals stand beside their bars in numbers too."""


@dataclass(frozen=True)
class Section:
    """One part of a report.  `query` names the block of reports.sql that its numbers come from."""

    key: str
    title: str
    query: str
    lines: tuple[Line, ...]
    explained: tuple[tuple[str, str], ...] = field(default=())
    """(figure, what it means)."""


def prose(text: str, width: int, role: str = "muted") -> list[Line]:
    """A sentence over as many lines as it needs."""
    return [((line, role),) for line in textwrap.wrap(one_line(text), max(20, width))]


def one_line(text: str) -> str:
    """Text of a file or model on one line, without what a terminal obeys."""
    return " ".join(clean_text(text).split())


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells; cut with an ellipsis."""
    indent = len(text) - len(text.lstrip(" "))
    text = " " * indent + one_line(text)
    if cell_len(text) > width:
        text = set_cell_size(text, width - 1).rstrip() + "…"
    return set_cell_size(text, width)


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """A figure with so many decimals; a dash where there is none."""
    return "–" if value is None or value != value else f"{value:{'+' if signed else ''}.{digits}f}"


def interval(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """`0.71 … 0.92`, or nothing where there is none."""
    if low is None or high is None or low != low or high != high:
        return ""
    return f"{number(low, 2, signed=signed)} … {number(high, 2, signed=signed)}"


def bar(
    value: float,
    low: float | None = None,
    high: float | None = None,
    *,
    scale: tuple[float, float] = (0.0, 1.0),
    cells: int = 24,
    mark: float | None = None,
) -> str:
    """A bar to `value`; shaded from `low` to `high`; a thin line at `mark` where the bar does not reach."""

    def place(at: float) -> int:
        share = (at - scale[0]) / (scale[1] - scale[0]) if scale[1] > scale[0] else 0.0
        return round(max(0.0, min(1.0, share)) * (cells - 1))

    end = place(value)
    left, right = place(value if low is None else low), place(value if high is None else high)
    drawn = ["█" if at < left else "▒" if at <= right else " " for at in range(cells)]
    if left < right:
        drawn[end] = "┃"
    else:
        drawn = ["█" if at <= end else " " for at in range(cells)]
    if mark is not None and drawn[place(mark)] == " ":
        drawn[place(mark)] = "┊"
    return "".join(drawn)


def distance(reached: float, wanted: float, cells: int) -> str:
    """● where a share is and │ where it ought to be, on a line from 0 to 1, what lies between them drawn."""
    at, goal = round(reached * (cells - 1)), round(wanted * (cells - 1))
    drawn = [" "] * cells
    low, high = min(at, goal), max(at, goal)
    drawn[low : high + 1] = "─" * (high + 1 - low)
    drawn[goal] = "│"
    drawn[at] = "●"
    return "".join(drawn)


def box(quantiles: Sequence[float], scale: tuple[float, float], cells: int) -> str:
    """Five quantiles (5, 25, 50, 75, 95 %) as whiskers, box and median."""

    def place(at: float) -> int:
        share = (at - scale[0]) / (scale[1] - scale[0]) if scale[1] > scale[0] else 0.0
        return round(max(0.0, min(1.0, share)) * (cells - 1))

    low, first, middle, third, high = (place(at) for at in quantiles)
    drawn = [" "] * cells
    drawn[low : high + 1] = "─" * (high + 1 - low)
    drawn[first : third + 1] = "▒" * (third + 1 - first)
    drawn[low], drawn[high] = ("├" if low < first else drawn[low]), ("┤" if high > third else drawn[high])
    drawn[middle] = "┃"
    return "".join(drawn)


def columns(counts: Sequence[int], wide: int = 1) -> str:
    """Counts as columns of one line, each `wide` cells."""
    most = max(counts, default=0)
    return "".join(SHADES[-(-count * 8 // most) if most else 0] * wide for count in counts)


def shown(line: Line) -> str:
    """A line as plain text."""
    return "".join(text for text, _ in line).rstrip()


def scale_line(label: str, width: int, left: str, middle: str, right: str) -> Line:
    """What a column of bars is about, and the ends and the middle of their scale."""
    room = _bar_cells(width)
    if not room:
        return ((fit(label, width), "muted"),)
    scale = left + middle.center(room - len(left) - len(right)) + right
    return ((fit(label, width - room), "muted"), (scale, "muted"))


def bar_line(label: str, figure: Figure, role: str, width: int, *, mark: float, top: float = 1.0) -> Line:
    """A figure as label, number and a bar with its interval; at `mark` a line."""
    cells = _bar_cells(width)
    if not cells:
        return ((fit(label, width - 5), ""), (number(figure.value), "strong"))
    between = interval(figure.low, figure.high) if figure.low < figure.high else ""
    beside = f"  {between:<13}  " if width >= ROOMY else " "
    drawn = bar(figure.value, figure.low, figure.high, scale=(0.0, top), cells=cells, mark=mark)
    return (
        (fit(label, width - cells - 5 - len(beside)), ""),
        (number(figure.value), "strong"),
        (beside, "muted"),
        (drawn, role),
    )


def _bar_cells(width: int) -> int:
    """Room for a bar; 0 where a bar would be too short to be read."""
    cells = width - 24 - 5 - 17 if width >= ROOMY else width - 22 - 6
    return cells if cells >= SHORTEST_BAR else 0


def signed_line(label: str, figure: Figure) -> Line:
    """A difference with its interval."""
    return (
        (fit(label, 23), ""),
        (number(figure.value, signed=True), "strong"),
        (f"  {interval(figure.low, figure.high, signed=True)}", "muted"),
    )


def percent(share: float) -> str:
    """`0.123` as `12 %`."""
    return f"{share:.0%}"
