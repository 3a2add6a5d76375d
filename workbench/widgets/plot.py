"""A plot of curves in braille, with two thin axes.

Imports numpy through textual-plot, so only screens that chart import this module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import ClassVar, Literal

from textual.reactive import reactive
from textual_hires_canvas import Canvas
from textual_plot import AxisFormatter, HiResMode, PlotWidget

from workbench.widgets.series import decimate, nice_ticks

THIN = dict(zip("┃━┏┓┗┛┳┻┫┣", "│─  └ ┬─┤│", strict=True))
SHAPES = "●▲■◆✚★▼○"
"""The shape of each curve, so that colour alone tells nothing."""
COLOURS = (
    *("$primary", "$accent", "$secondary", "$error"),
    *("$warning", "$foreground", "$text-accent", "$foreground-muted"),
)
"""The colour of each curve, as the style sheets and legends name it."""
MARKS_A_CURVE = 5
DAY = 86_400
APART = (
    *(1, 5, 15, 30, 60, 300, 900, 1800),
    *(3600, 3 * 3600, 6 * 3600, 12 * 3600, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 90 * DAY),
)
"""Seconds between two moments on an axis."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot.  `slot` gives its colour and shape."""

    points: Sequence[tuple[float, float]]
    slot: int = 0
    line: bool = True
    """Joined by a line; else every point is drawn with its shape."""
    faint: bool = False
    shaped: bool = False
    """A line that also bears its shape, at a few places."""


class StepFormatter(AxisFormatter):
    """Whole steps below the chart."""

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 6) -> list[float]:
        return nice_ticks(min_, max_, min(max_ticks, 6), whole=True)

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        return [f"{tick:.0f}" for tick in ticks]


class ValueFormatter(AxisFormatter):
    """Short numbers beside the chart, as many as its height bears."""

    def __init__(self, most: int = 4) -> None:
        self.most = most

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        return nice_ticks(min_, max_, self.most)

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        """As many decimals as tell neighbours apart; powers of ten where that is too many."""
        apart = min((b - a for a, b in pairwise(ticks)), default=1.0)
        decimals = max(0, -math.floor(math.log10(apart) + 1e-9)) if apart > 0 else 0
        if decimals > 4 or any(abs(tick) >= 1e5 for tick in ticks):
            return [f"{tick:.0e}".replace("e-0", "e-").replace("e+0", "e") for tick in ticks]
        return [f"{tick:.{decimals}f}" for tick in ticks]


class TimeFormatter(AxisFormatter):
    """Moments below the chart, from seconds since 1970 in UTC: days, or the time of day within three."""

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        span = max_ - min_
        apart = next((each for each in APART if span / each <= min(max_ticks, 6)), 365 * DAY)
        while span / apart > min(max_ticks, 6):
            apart *= 2
        first = math.ceil(min_ / apart)
        return [n * apart for n in range(first, math.floor(max_ / apart) + 1)] or [min_]

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        close = len(ticks) > 1 and ticks[1] - ticks[0] < DAY
        shown = "%d %b %H:%M" if close and ticks[-1] - ticks[0] >= DAY else "%H:%M" if close else "%Y-%m-%d"
        if close and ticks[1] - ticks[0] < 60:
            shown = "%H:%M:%S"
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        return [(epoch + timedelta(seconds=tick)).strftime(shown) for tick in ticks]


class Plot(PlotWidget, can_focus=False):
    """Curves over steps, or over any number when not `whole_steps`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        *("plot--faint", "plot--mark"),
        *(f"plot--line-{n}" for n in range(len(COLOURS))),
    }
    DEFAULT_CSS = (
        """
    Plot {
        height: 1fr;
        &> .plot--axis { color: $foreground 25%; }
        &> .plot--tick { color: $foreground-muted; text-style: none; }
        &> .plot--mark { color: $text; text-style: bold; }
        &> .plot--faint { color: $foreground 30%; }
        &:focus > .plot--axis { color: $foreground 25%; }
"""
        + "".join(f"        &> .plot--line-{n} {{ color: {colour}; }}\n" for n, colour in enumerate(COLOURS))
        + "    }"
    )
    margin_top = reactive(0)
    margin_bottom = reactive(1)
    margin_left = reactive(8)

    def __init__(self, *, whole_steps: bool = True, id: str | None = None) -> None:
        super().__init__(allow_pan_and_zoom=False, id=id)
        self._values = ValueFormatter()
        self.set_x_formatter(StepFormatter() if whole_steps else ValueFormatter(most=8))
        self.set_y_formatter(self._values)

    def over(self, axis: Literal["steps", "numbers", "times"]) -> None:
        """What the x axis counts from now on."""
        kinds = {"steps": StepFormatter, "numbers": lambda: ValueFormatter(most=8), "times": TimeFormatter}
        self.set_x_formatter(kinds[axis]())

    def show(
        self,
        curves: Sequence[Curve],
        *,
        limits: tuple[float, float] | None = None,
        marks: Sequence[tuple[float, float]] = (),
    ) -> None:
        """Draw `curves`; limits get a little air, and a flat or single value stays readable.

        `limits` are the ends of the x axis, those of the points unless given; `marks` are points with a ◎.
        """
        self._values.most = max(3, min(5, self.size.height // 3))
        self.clear()
        self.refresh(layout=True)  # the canvases take a new size only with a layout
        curves = [curve for curve in curves if curve.points]
        if not curves:
            return
        self._limit(curves, limits, marks)
        cells = max(16, self.size.width - self.margin_left)
        for curve in curves:
            self._draw_curve(curve, decimate(curve.points, cells) if curve.line else curve.points)
        if marks:
            style = self._style("plot--mark")
            self.scatter([x for x, _ in marks], [y for _, y in marks], marker="◎", marker_style=style)

    def _limit(
        self,
        curves: Sequence[Curve],
        limits: tuple[float, float] | None,
        marks: Sequence[tuple[float, float]],
    ) -> None:
        points = [*(point for curve in curves for point in curve.points), *marks]
        ys = [y for _, y in points]
        low, high = min(ys), max(ys)
        air = (high - low) * 0.05 or max(abs(high) * 0.1, 0.1)
        self.set_ylimits(low - air, high + air)
        left, right = limits or (min(x for x, _ in points), max(x for x, _ in points))
        self.set_xlimits(left, right if right > left else left + 1)

    def _draw_curve(self, curve: Curve, points: Sequence[tuple[float, float]]) -> None:
        xs, ys = [x for x, _ in points], [y for _, y in points]
        style = self._style("plot--faint" if curve.faint else f"plot--line-{curve.slot % len(COLOURS)}")
        shape = SHAPES[curve.slot % len(SHAPES)]
        if len(points) == 1 or not curve.line:
            self.scatter(xs, ys, marker=shape, marker_style=style)
            return
        self.plot(xs, ys, line_style=style, hires_mode=HiResMode.BRAILLE)
        if curve.shaped:
            first = curve.slot / (len(SHAPES) * MARKS_A_CURVE)
            at = [int((first + (k + 0.5) / MARKS_A_CURVE) * len(points)) for k in range(MARKS_A_CURVE)]
            chosen = sorted({min(index, len(points) - 1) for index in at})
            self.scatter([xs[i] for i in chosen], [ys[i] for i in chosen], marker=shape, marker_style=style)

    def _style(self, component: str) -> str:
        return str(self.get_component_rich_style(component, partial=True))

    def _render_plot(self) -> None:
        """Draw, then leave two thin axes of the heavy frame, so that the curve stands out."""
        super()._render_plot()
        canvas = self.query_one("#plot", Canvas)
        width, height = canvas.size
        if width < 2 or height < 2 or canvas.size != canvas._canvas_size:
            return
        edge = {(x, y) for x in (0, width - 1) for y in range(height)}
        edge |= {(x, y) for y in (0, height - 1) for x in range(width)}
        for x, y in edge:
            character, style = canvas.get_pixel(x, y)
            if character in THIN:
                canvas.set_pixel(x, y, " " if y == 0 or x == width - 1 else THIN[character], style)
