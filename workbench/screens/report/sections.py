"""One section of a reward model's report: its lines in colour, and a plot where a curve says more.

Imports numpy through textual-plot, so only screens that chart import this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench.widgets.plot import Curve, Plot, ValueFormatter
from workbench.widgets.safe import safe_text
from workbench.widgets.series import nice_ticks

if TYPE_CHECKING:
    from workbench.services.reports.lines import Line
    from workbench.services.reports.reports import RewardReport

ROLES = {
    "muted": "$foreground-muted",
    "strong": "bold",
    "model": "$primary",
    "baseline": "$accent",
    "people": "$secondary",
    "warning": "$text-warning",
}
NUMBERS_CELLS = 30
"""Beside a plot the numbers take this much."""
CURVES = {
    "calibration": "across: predicted · up: right",
    "curve": "accuracy by pairs learned",
}
"""Sections with a plot, and what its axes are."""


def line_content(line: Line) -> Content:
    """A line of a report in the colours of its roles."""
    return Content.assemble(*((safe_text(text), ROLES.get(role, "")) for text, role in line))


def lines_content(lines: Sequence[Line]) -> Content:
    return Content("\n").join(line_content(line) for line in lines)


def curves(report: RewardReport, key: str) -> tuple[list[Curve], tuple[float, float] | None]:
    """What the plot of a section draws, and the ends of its x axis."""
    if key == "calibration":
        points = [(bin_.predicted, bin_.observed) for bin_ in report.calibration]
        ideal = Curve(((0.5, 0.5), (1.0, 1.0)), faint=True)
        return ([ideal, Curve(points), Curve(points, line=False)], (0.5, 1.0)) if points else ([], None)
    points = [(float(p.pairs), p.accuracy) for p in report.curve if p.accuracy is not None]
    return [Curve(points), Curve(points, line=False)] if points else [], None


class FewTicks(ValueFormatter):
    """As many numbers below a small plot as fit side by side."""

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 6) -> list[float]:
        return nice_ticks(min_, max_, self.most)


class SmallPlot(Plot):
    """A plot beside the numbers that it draws."""

    TICK_CELLS = 10

    def __init__(self) -> None:
        super().__init__(whole_steps=False)
        self._ticks = FewTicks()
        self.set_x_formatter(self._ticks)

    def draw(self, drawn: Sequence[Curve], limits: tuple[float, float] | None) -> None:
        """Draws the curves, with as many ticks as the width has room for."""
        self._ticks.most = max(2, (self.size.width - 8) // self.TICK_CELLS)
        self.show(drawn, limits=limits)


class SectionPane(VerticalScroll, inherit_bindings=False):
    """A section by its key; drawn anew for every width.  The arrows left and right are the screen's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_up", "Scroll up", show=False),
        Binding("down", "scroll_down", "Scroll down", show=False),
        Binding("pageup", "page_up", "Page up", show=False),
        Binding("pagedown,space", "page_down", "Page down", show=False),
        Binding("home", "scroll_home", "Top", show=False),
        Binding("end", "scroll_end", "Bottom", show=False),
    ]
    DEFAULT_CSS = """
    SectionPane {
        scrollbar-gutter: stable;
        .section-text { width: 1fr; height: auto; }
        &.-plotted { layout: horizontal; overflow-y: hidden; }
        &.-plotted .section-text { width: 30; }
        &.-plotted Plot { width: 1fr; height: 1fr; }
    }
    """

    def __init__(self, key: str) -> None:
        super().__init__(id=f"section-{key}", classes="pane")
        self.key = key
        self._report: RewardReport | None = None

    def compose(self) -> ComposeResult:
        yield Static(classes="section-text", markup=False)
        if self.key in CURVES:
            yield SmallPlot()

    def show(self, report: RewardReport) -> None:
        """Draws this section of a report, and again when the width changes."""
        self._report = report
        self._draw()

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        report = self._report
        if report is None or not self.is_mounted or not self.size.width:
            return
        from workbench.services.reports.text import NARROWEST, section

        drawn, limits = curves(report, self.key) if self.key in CURVES else ([], None)
        self.set_class(bool(drawn), "-plotted")
        width = NUMBERS_CELLS if drawn else max(NARROWEST, self.scrollable_content_region.width)
        self.query_one(".section-text", Static).update(lines_content(section(report, self.key, width).lines))
        for plot in self.query(SmallPlot):
            plot.display = bool(drawn)
            if drawn:
                self.border_subtitle = CURVES[self.key]
                self.call_after_refresh(plot.draw, drawn, limits)
