"""Live charts of runs: one metric at a time where room is short, a grid of them where it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Grid, Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from workbench.widgets.plot import COLOURS, SHAPES, Curve, Plot
from workbench.widgets.safe import safe_line
from workbench.widgets.series import Lens, between, charted, decimate, ema, short_number

Points = Sequence[tuple[float, float]]
Series = Mapping[str, Points]
BUCKETS = 200
"""Twice this many points are drawn at most: more than the columns of braille dots on a wide terminal."""
MOST_RUNS = len(SHAPES)


@dataclass(frozen=True)
class RunSeries:
    """The metrics of one run on the board."""

    name: str
    series: Series
    """Decimated, for the whole run."""
    full: Series
    """Every finite point, for a closer look and for smoothing."""
    slot: int = 0
    """Its shape and colour."""


@dataclass(frozen=True)
class Drawing:
    """What one chart shows."""

    title: str
    curves: tuple[Curve, ...]
    limits: tuple[float, float] | None
    latest: tuple[tuple[int, float | None], ...]
    """Slot and last value of each run, as measured."""


class MetricChart(Vertical):
    """One metric: its title and latest values above, its curves below."""

    DEFAULT_CSS = """
    MetricChart {
        height: 1fr; width: 1fr; min-height: 6;
        .chart-title { height: 1; padding: 0 1; text-wrap: nowrap; }
    }
    """

    def __init__(self, slot: int) -> None:
        """`slot` counts from 0."""
        super().__init__(id=f"chart-{slot}")
        self.slot = slot
        self._drawing = Drawing("", (), None, ())

    def compose(self) -> ComposeResult:
        yield Static(classes="chart-title", markup=False)
        yield Plot()

    def on_mount(self) -> None:
        self._draw(curve=False)  # the curve follows with the first size

    def show(self, drawing: Drawing) -> None:
        """Replace what is drawn; the curves are not drawn again when they are the same."""
        before = self._drawing
        changed = (drawing.curves, drawing.limits) != (before.curves, before.limits)
        self._drawing = drawing
        if self.is_mounted:
            self._draw(curve=changed)

    def _draw(self, *, curve: bool) -> None:
        drawing = self._drawing
        parts: list[Content | str | tuple[str, str]] = [(safe_line(drawing.title, 60), "bold")]
        for slot, value in drawing.latest:
            shape = f"{SHAPES[slot]} " if len(drawing.latest) > 1 else ""
            style = COLOURS[slot] if len(drawing.latest) > 1 else "$text-primary"
            parts += ["  ", (f"{shape}{short_number(value)}", style)]
        self.query_one(".chart-title", Static).update(Content.assemble(*parts))
        if curve:
            self.query_one(Plot).show(drawing.curves, limits=drawing.limits)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw, curve=True)


class ChartBoard(Widget):
    """The charts of runs.  `wide` shows all of them in a grid, otherwise one, chosen by number."""

    DEFAULT_CSS = """
    ChartBoard {
        height: 1fr;
        #strip { height: auto; max-height: 2; padding: 0 1; color: $foreground-muted; }
        #legend { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #grid { height: 1fr; grid-size: 3; grid-gutter: 0 1; }
        #empty { padding: 1 2; color: $foreground-muted; height: auto; }
    }
    """
    wide = reactive(False, init=False)
    chosen = reactive(0, init=False)
    lens = reactive(Lens(), init=False)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._charts: list[tuple[str, str]] = []
        self._runs: Sequence[RunSeries] = ()

    def compose(self) -> ComposeResult:
        yield Static(id="strip", markup=False)
        yield Static("No numbers yet.", id="empty", markup=False)
        yield Static(id="legend", markup=False)
        yield Grid(id="grid")

    def on_mount(self) -> None:
        self._redraw()

    def show(self, kind: str, runs: Sequence[RunSeries]) -> None:
        """Draw runs over each other; the first, of that `kind`, decides which metrics."""
        self._runs = runs[:MOST_RUNS]
        self._charts = charted(kind, list(runs[0].series) if runs else [])
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

    def watch_lens(self) -> None:
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
        legend = self.query_one("#legend", Static)
        legend.display = count > 0 and (len(self._runs) > 1 or self.lens != Lens())
        legend.update(self._legend())
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
                charts[slot].show(self._drawing(*self._charts[slot]))

    def _drawing(self, name: str, title: str) -> Drawing:
        """The curves of one metric as the lens shows them."""
        several = len(self._runs) > 1
        limits = self._limits(name)
        curves: list[Curve] = []
        latest: list[tuple[int, float | None]] = []
        for run in self._runs:
            measured = run.full.get(name, ())
            latest.append((run.slot, measured[-1][1] if measured else None))
            if self.lens == Lens() or limits is None:
                curves.append(Curve(tuple(run.series.get(name, ())), run.slot, shaped=several))
                continue
            if self.lens.smoothing and not several:
                raw = decimate(between(measured, *limits), BUCKETS)
                curves.append(Curve(tuple(raw), run.slot, faint=True))
            smoothed = between(ema(measured, self.lens.smoothing), *limits)
            curves.append(Curve(tuple(decimate(smoothed, BUCKETS)), run.slot, shaped=several))
        return Drawing(title, tuple(curves), limits, tuple(latest))

    def _limits(self, name: str) -> tuple[float, float] | None:
        """Ends of the steps that the lens shows; None where there is nothing."""
        ends = [
            step
            for run in self._runs
            if (points := run.full.get(name))
            for step in (points[0][0], points[-1][0])
        ]
        return self.lens.limits(min(ends), max(ends)) if ends else None

    def _legend(self) -> Content:
        """Which shape and colour is which run, and what the lens does."""
        parts: list[Content | str | tuple[str, str]] = []
        for run in self._runs if len(self._runs) > 1 else ():
            parts += [(f"{SHAPES[run.slot]} {safe_line(run.name, 24)}", COLOURS[run.slot]), "  "]
        if not self.lens.whole:
            name = self._charts[min(self.chosen, len(self._charts) - 1)][0] if self._charts else ""
            limits = self._limits(name)
            if limits is not None:
                parts.append((f"steps {limits[0]:.0f}–{limits[1]:.0f}  ", "$foreground-muted"))
        if self.lens.smoothing:
            parts.append((f"smoothed {self.lens.smoothing:g}", "$foreground-muted"))
        return Content.assemble(*parts)

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
