"""Live charts of a run: one metric at a time where room is short, a grid of them where it is not.

Imports numpy through textual-plot, so only screens that chart import this module.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Grid, Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static
from textual_hires_canvas import Canvas
from textual_plot import AxisFormatter, HiResMode, PlotWidget

from workbench.widgets.safe import safe_line
from workbench.widgets.series import charted, decimate, nice_ticks, short_number

Series = Mapping[str, Sequence[tuple[float, float]]]
THIN = dict(zip("┃━┏┓┗┛┳┻┫┣", "│─  └ ┬─┤│", strict=True))
BUCKETS = 200
"""Twice this many points are drawn at most: more than the columns of braille dots on a wide terminal."""


class StepFormatter(AxisFormatter):
    """Whole steps below the chart."""

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 6) -> list[float]:
        return nice_ticks(min_, max_, min(max_ticks, 6), whole=True)

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        return [f"{tick:.0f}" for tick in ticks]


class ValueFormatter(AxisFormatter):
    """Short numbers beside the chart, as many as its height bears."""

    most = 4

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        return nice_ticks(min_, max_, self.most)

    def get_labels_for_ticks(self, ticks: Sequence[float]) -> list[str]:
        apart = min((b - a for a, b in pairwise(ticks)), default=1.0)
        decimals = max(0, -math.floor(math.log10(apart) + 1e-9)) if apart > 0 else 0
        if decimals > 4 or any(abs(tick) >= 1e5 for tick in ticks):
            return [f"{tick:.0e}".replace("e-0", "e-").replace("e+0", "e") for tick in ticks]
        return [f"{tick:.{decimals}f}" for tick in ticks]


class Plot(PlotWidget, can_focus=False):
    """A plot without pan, zoom or wide margins."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"plot--line"}
    DEFAULT_CSS = """
    Plot {
        height: 1fr;
        &> .plot--axis { color: $foreground 25%; }
        &> .plot--tick { color: $foreground-muted; text-style: none; }
        &> .plot--line { color: $primary; }
        &:focus > .plot--axis { color: $foreground 25%; }
    }
    """
    margin_top = reactive(0)
    margin_bottom = reactive(1)
    margin_left = reactive(8)

    def __init__(self) -> None:
        super().__init__(allow_pan_and_zoom=False)
        self._values = ValueFormatter()
        self.set_x_formatter(StepFormatter())
        self.set_y_formatter(self._values)

    def show(self, points: Sequence[tuple[float, float]]) -> None:
        """Draw `points`; limits get a little air, and a flat or single value stays readable."""
        self._values.most = max(3, min(5, self.size.height // 3))
        self.clear()
        self.refresh(layout=True)  # the canvases take a new size only with a layout
        if not points:
            return
        points = decimate(points, max(16, self.size.width - self.margin_left))
        xs, ys = [x for x, _ in points], [y for _, y in points]
        low, high = min(ys), max(ys)
        air = (high - low) * 0.05 or max(abs(high) * 0.1, 0.1)
        self.set_ylimits(low - air, high + air)
        self.set_xlimits(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1)
        style = str(self.get_component_rich_style("plot--line", partial=True))
        if len(points) == 1:
            self.scatter(xs, ys, marker="●", marker_style=style)
        else:
            self.plot(xs, ys, line_style=style, hires_mode=HiResMode.BRAILLE)

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


class MetricChart(Vertical):
    """One metric: its title and latest value above, its curve below."""

    DEFAULT_CSS = """
    MetricChart {
        height: 1fr; width: 1fr; min-height: 6;
        .chart-title { height: 1; padding: 0 1; }
    }
    """

    def __init__(self, slot: int) -> None:
        """`slot` counts from 0."""
        super().__init__(id=f"chart-{slot}")
        self.slot = slot
        self._title = ""
        self._points: Sequence[tuple[float, float]] = ()

    def compose(self) -> ComposeResult:
        yield Static(classes="chart-title", markup=False)
        yield Plot()

    def on_mount(self) -> None:
        self._draw(curve=False)  # the curve follows with the first size

    def show(self, title: str, points: Sequence[tuple[float, float]]) -> None:
        """Replace what is drawn; the curve is not drawn again when the points are the same."""
        changed = points != self._points
        self._title, self._points = title, points
        if self.is_mounted:
            self._draw(curve=changed)

    def _draw(self, *, curve: bool) -> None:
        latest = self._points[-1][1] if self._points else None
        head = Content.assemble(
            (safe_line(self._title, 60), "bold"), "  ", (short_number(latest), "$text-primary")
        )
        self.query_one(".chart-title", Static).update(head)
        if curve:
            self.query_one(Plot).show(self._points)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw, curve=True)


class ChartBoard(Widget):
    """The charts of one run.  `wide` shows all of them in a grid, otherwise one, chosen by number."""

    DEFAULT_CSS = """
    ChartBoard {
        height: 1fr;
        #strip { height: auto; max-height: 2; padding: 0 1; color: $foreground-muted; }
        #grid { height: 1fr; grid-size: 3; grid-gutter: 0 1; }
        #empty { padding: 1 2; color: $foreground-muted; height: auto; }
    }
    """
    wide = reactive(False, init=False)
    chosen = reactive(0, init=False)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._charts: list[tuple[str, str]] = []
        self._series: Series = {}

    def compose(self) -> ComposeResult:
        yield Static(id="strip", markup=False)
        yield Static("No numbers yet.", id="empty", markup=False)
        yield Grid(id="grid")

    def on_mount(self) -> None:
        self._redraw()

    def show(self, kind: str, series: Series) -> None:
        """Draw a run's metrics, name → decimated points."""
        self._charts = charted(kind, list(series))
        self._series = series
        self._redraw()

    def choose(self, index: int) -> None:
        """Show chart `index` (from 0) where one is shown at a time; outside the range does nothing."""
        if 0 <= index < len(self._charts):
            self.chosen = index

    def step(self, by: int) -> None:
        """The next or previous chart, round the end."""
        if self._charts:
            self.chosen = (min(self.chosen, len(self._charts) - 1) + by) % len(self._charts)

    def on_resize(self) -> None:
        self._redraw()

    def watch_wide(self) -> None:
        self._redraw()

    def watch_chosen(self) -> None:
        self._redraw()

    def _redraw(self) -> None:
        if not self.is_mounted:
            return
        count = len(self._charts)
        self.query_one("#empty").display = count == 0
        grid = self.query_one("#grid", Grid)
        grid.display = count > 0
        chosen = min(self.chosen, count - 1)
        shown = range(count) if self.wide else range(max(0, chosen), chosen + 1)
        grid.styles.grid_size_columns = min(3, max(1, math.ceil(math.sqrt(count)))) if self.wide else 1
        strip = self.query_one("#strip", Static)
        strip.display = not self.wide and count > 1
        if strip.display:
            strip.update(self._strip())
        self._show_charts(grid, shown)

    def _show_charts(self, grid: Grid, shown: range) -> None:
        """Draw the charts of these slots; a slot's widgets are made when it is first shown."""
        charts = {chart.slot: chart for chart in grid.query(MetricChart)}
        for slot in sorted({*charts, *shown}):
            if slot not in charts:
                before = min((other for other in charts if other > slot), default=None)
                charts[slot] = MetricChart(slot)
                grid.mount(charts[slot], before=None if before is None else charts[before])
            charts[slot].display = slot in shown
            if slot in shown:
                name, title = self._charts[slot]
                charts[slot].show(title, self._series.get(name, ()))

    def _strip(self) -> Content:
        """Numbers and names of the charts, broken between them and never inside."""
        lines: list[list[Content]] = [[]]
        room = left = max(20, self.size.width - 2)
        for index, (_name, title) in enumerate(self._charts):
            chosen = index == min(self.chosen, len(self._charts) - 1)
            label = safe_line(title, 30).split(",")[0]
            part = Content.assemble(
                (f"{index + 1} ", "$text-accent"), (label, "bold $text-primary underline" if chosen else "")
            )
            if part.cell_length > left:
                lines.append([])
                left = room
            lines[-1].append(part)
            left -= part.cell_length + 2
        return Content("\n").join(Content("  ").join(line) for line in lines)


def prepare(
    metrics: Mapping[str, Sequence[tuple[int, float | None]]],
) -> dict[str, list[tuple[float, float]]]:
    """Decimate every metric; run it in the thread that read them."""
    return {name: decimate(points, BUCKETS) for name, points in metrics.items()}
