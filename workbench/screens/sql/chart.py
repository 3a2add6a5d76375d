"""Columns of a result as a chart: curves or points of two of them, or bars by a name."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.screens.base import told
from workbench.services.sql.charting import Chart, Charted, drawn, kinds, suggested
from workbench.widgets.plot import COLOURS, SHAPES, Curve, Plot
from workbench.widgets.safe import safe_line
from workbench.widgets.series import short_number

if TYPE_CHECKING:
    from workbench.services.sql.result_rows import ResultRows

NO_NUMBERS = "No column of this result is a number or a time, and a chart needs one."
LABEL_CELLS = 28
KEYS = "x y other columns · s splits · l line or points · esc closes"


class ChartScreen(ModalScreen[None]):
    """Draws the column under the cursor over another; keys choose others."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "next('x', 1)", "Next column along x"),
        Binding("X", "next('x', -1)", "Previous column along x", show=False),
        Binding("y", "next('y', 1)", "Next column along y"),
        Binding("Y", "next('y', -1)", "Previous column along y", show=False),
        Binding("s", "next('by', 1)", "Split by a column of names"),
        Binding("l", "join", "Line or points"),
        Binding("escape,q,c", "dismiss(None)", "Close"),
    ]
    DEFAULT_CSS = """
    ChartScreen {
        #drawn, #legend { height: auto; }
        #note { height: auto; color: $text-muted; }
        VerticalScroll { height: 1fr; display: none; }
        &.-bars VerticalScroll { display: block; }
        &.-bars Plot { display: none; }
    }
    """

    def __init__(self, rows: ResultRows, cursor: int) -> None:
        """`cursor` is the column that the person stands on."""
        super().__init__()
        self._rows, self._cursor = rows, cursor
        self._names = [safe_line(name, LABEL_CELLS) for name in rows.schema.names]
        self._kinds = kinds(rows.schema)
        self._choice: Charted | None = None
        self._joined: bool | None = None
        """What the person wants; None is what fits."""
        self._chart = Chart()

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content("Chart")
            dialog.border_subtitle = Content(KEYS)
            yield Static(id="drawn", markup=False)
            yield Static(id="legend", markup=False)
            yield Plot()
            with VerticalScroll():
                yield Static(id="bars", markup=False)
            yield Static(id="note", markup=False)

    def on_mount(self) -> None:
        self.draw(None)

    def on_resize(self) -> None:
        self.call_after_refresh(self._show)

    @work(exclusive=True, group="draw")
    @told
    async def draw(self, choice: Charted | None) -> None:
        """Read the columns in a thread and draw them; None is what suits the result."""
        choice = choice or await asyncio.to_thread(suggested, self._rows, self._cursor)
        if choice is None:
            self.query_one("#note", Static).update(Content(NO_NUMBERS))
            return
        self._choice = choice
        self._chart = await asyncio.to_thread(drawn, self._rows, choice)
        self._show()

    def _show(self) -> None:
        choice, chart = self._choice, self._chart
        if choice is None or not self.is_mounted:
            return
        x = "row" if choice.x is None else self._names[choice.x]
        split = f", by {self._names[choice.by]}" if choice.by is not None else ""
        self.query_one("#drawn", Static).update(
            Content.assemble((self._names[choice.y], "bold $primary"), (f" over {x}{split}", ""))
        )
        self.query_one("#note", Static).update(Content(chart.note))
        self.query_one("#legend", Static).update(self._legend())
        self.set_class(bool(chart.bars), "-bars")
        self.query_one("#bars", Static).update(self._bars())
        joined = chart.joined if self._joined is None else self._joined
        several = len(chart.lines) > 1
        plot = self.query_one(Plot)
        timed = choice.x is not None and self._kinds[choice.x] == "time"
        plot.over("times" if timed else "numbers")
        plot.show(
            [Curve(line.points, slot, line=joined, shaped=several) for slot, line in enumerate(chart.lines)]
        )

    def _legend(self) -> Content:
        if self._choice is None or self._choice.by is None:
            return Content("")
        return Content("  ").join(
            Content.styled(f"{SHAPES[slot]} {safe_line(line.name, 24)}", COLOURS[slot])
            for slot, line in enumerate(self._chart.lines)
        )

    def _bars(self) -> Content:
        """A line a row: its name, a bar from zero, its value."""
        bars = self._chart.bars
        if not bars:
            return Content("")
        label = min(LABEL_CELLS, max(len(safe_line(name, LABEL_CELLS)) for name, _ in bars))
        most = max((abs(value) for _, value in bars if value is not None), default=0.0) or 1.0
        room = max(8, self.size.width - label - 18)
        lines = []
        for name, value in bars:
            cells = 0 if value is None else round(abs(value) / most * room)
            style = "$primary" if value is None or value >= 0 else "$error"
            lines.append(
                Content.assemble(
                    Content(safe_line(name, LABEL_CELLS)).truncate(label, ellipsis=True, pad=True),
                    "  ",
                    ("█" * cells or "▏", style),
                    f" {short_number(value)}",
                )
            )
        return Content("\n").join(lines)

    def action_join(self) -> None:
        """Join the points by a line, or draw each apart."""
        joined = self._chart.joined if self._joined is None else self._joined
        self._joined = not joined
        self._show()

    def action_next(self, which: str, by: int) -> None:
        """The next column, along x, along y or to split by; x may also be the number of the row."""
        choice = self._choice
        if choice is None:
            return
        fits = {"x": ("number", "time", "word"), "y": ("number", "time"), "by": ("word",)}[which]
        offered: list[int | None] = [] if which == "y" else [None]
        offered += [place for place, kind in enumerate(self._kinds) if kind in fits]
        now = getattr(choice, which)
        place = offered.index(now) if now in offered else 0
        wanted = offered[(place + by) % len(offered)]
        self._joined = None
        if which == "x":
            self.draw(replace(choice, x=wanted))
        elif which == "by":
            self.draw(replace(choice, by=wanted))
        elif wanted is not None:
            self.draw(replace(choice, y=wanted))
