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
from textual_plot import AxisFormatter, HiResMode, PlotWidget

from workbench.widgets.safe import safe_text
from workbench.widgets.series import charted, decimate, nice_ticks, short_number

Series = Mapping[str, Sequence[tuple[float, float]]]
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
        self._values.most = max(2, min(5, self.size.height // 3))
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


class MetricChart(Vertical):
    """One metric: its title and latest value above, its curve below."""

    DEFAULT_CSS = """
    MetricChart {
        height: 1fr; width: 1fr; min-height: 6;
        .chart-title { height: 1; padding: 0 1; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._points: Sequence[tuple[float, float]] = ()

    def compose(self) -> ComposeResult:
        yield Static(classes="chart-title", markup=False)
        yield Plot()

    def show(self, title: str, points: Sequence[tuple[float, float]], key: str = "") -> None:
        """Replace what is drawn; nothing is redrawn when the points are the same."""
        latest = points[-1][1] if points else None
        head = Content.assemble(
            (f"{key} " if key else "", "$foreground-muted"),
            (safe_text(title), "bold"),
            "  ",
            (short_number(latest), "$text-primary"),
        )
        self.query_one(".chart-title", Static).update(head)
        if points is not self._points:
            self._points = points
            self.query_one(Plot).show(points)

    def on_resize(self) -> None:
        self.call_after_refresh(self.query_one(Plot).show, self._points)


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
        with Grid(id="grid"):
            for slot in range(9):
                yield MetricChart(id=f"chart-{slot}")

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
        shown = (
            range(count) if self.wide else range(min(self.chosen, count - 1), min(self.chosen, count - 1) + 1)
        )
        columns = 1 if not self.wide else min(3, max(1, math.ceil(math.sqrt(count))))
        grid.styles.grid_size_columns = columns
        strip = self.query_one("#strip", Static)
        strip.display = not self.wide and count > 1
        if strip.display:
            strip.update(self._strip())
        for slot in range(9):
            chart = self.query_one(f"#chart-{slot}", MetricChart)
            chart.display = slot in shown and slot < count
            if chart.display:
                name, title = self._charts[slot]
                chart.show(title, self._series.get(name, ()))

    def _strip(self) -> Content:
        parts: list[Content] = []
        for index, (_name, title) in enumerate(self._charts):
            label = safe_text(title).split(",")[0]
            style = "bold $text-primary underline" if index == min(self.chosen, len(self._charts) - 1) else ""
            parts.append(
                Content.assemble(
                    (f"{index + 1}\u00a0", "$text-accent"), (label.replace(" ", "\u00a0"), style)
                )
            )
        return Content("  ").join(parts)


def prepare(
    metrics: Mapping[str, Sequence[tuple[int, float | None]]],
) -> dict[str, list[tuple[float, float]]]:
    """Decimate every metric; run it in the thread that read them."""
    return {name: decimate(points, BUCKETS) for name, points in metrics.items()}
