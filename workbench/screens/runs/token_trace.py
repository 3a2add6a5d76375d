"""One response token by token: a table and heat lines of what the loss saw, with one cursor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from workbench.widgets.heatline import Scale, heat_content, legend_content
from workbench.widgets.row_list import RowList
from workbench.widgets.safe import safe_line

if TYPE_CHECKING:
    from storage.rollouts import TokenTrace


@dataclass(frozen=True, slots=True)
class Quantity:
    """One column of the table."""

    field: str
    """Of `TokenTrace`."""
    head: str
    middle: float | None
    """The number that has no colour; None lets the colours span what is there."""
    meaning: str


QUANTITIES = (
    Quantity("logprob", "ln π", None, "log-probability under the policy that sampled, nats"),
    Quantity("ref_logprob", "ln ref", None, "log-probability under the reference policy, nats"),
    Quantity("kl", "KL", 0.0, "ln π − ln π_ref, nats"),
    Quantity("reward", "reward", 0.0, "−β·KL, and the score at the last token"),
    Quantity("value", "value", 0.0, "what the critic expected from here on"),
    Quantity("advantage", "advant", 0.0, "how much better than expected"),
    Quantity("return_", "return", 0.0, "what the critic is taught to expect"),
    Quantity("ratio", "ratio", 1.0, "π / π_old at the last update of the step"),
)
PLACE_CELLS, LEAST_TOKEN_CELLS = 4, 10


def figure(trace: TokenTrace, quantity: Quantity) -> float:
    """The number, NaN where the job has none (there is no critic without PPO)."""
    value = getattr(trace, quantity.field)
    return math.nan if value is None else float(value)


def scale_of(tokens: Sequence[TokenTrace], quantity: Quantity) -> Scale:
    """Colours of a quantity over one response, even on both sides of its middle where it has one."""
    numbers = [figure(trace, quantity) for trace in tokens]
    if quantity.middle is None:
        return Scale.of(numbers)
    widest = max((abs(n - quantity.middle) for n in numbers if math.isfinite(n)), default=0.0)
    return Scale(quantity.middle - widest, quantity.middle + widest)


def short(number: float, cells: int) -> str:
    """As many decimals as `cells` bear, right-aligned; a dash for no number."""
    if not math.isfinite(number):
        return "–".rjust(cells)
    for decimals in (3, 2, 1, 0):
        text = f"{number:.{decimals}f}"
        if len(text) < cells:
            return text.rjust(cells)
    return f"{number:.0e}".rjust(cells)


def visible(token: str) -> str:
    """A token with its blanks and line breaks to be seen."""
    return safe_line(token.replace(" ", "·").replace("\n", "⏎").replace("\t", "→"), 60) or "∅"


class TokenTable(RowList):
    """The tokens, in the order of a column; left and right choose the column."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "column(-1)", "Column", key_display="← →", show=False),
        Binding("right", "column(1)", "Next column", show=False),
    ]

    class ColumnMoved(Message):
        """Another column, or another order."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(self.draw_row, self._no_more, id=id)
        self.tokens: Sequence[TokenTrace] = ()
        self.column = 0
        self.order: tuple[int, bool] | None = None
        """Column and whether the largest comes first; None is the order of the text."""

    async def _no_more(self, offset: int, limit: int) -> Sequence[Any]:
        return ()  # all rows are in memory

    def put(self, tokens: Sequence[TokenTrace]) -> None:
        """Another response; the order stays."""
        self.tokens = tokens
        self.show_all(self._ordered())

    def _ordered(self) -> list[TokenTrace]:
        rows = list(self.tokens)
        if self.order is not None:
            column, down = self.order
            quantity = QUANTITIES[column]

            def key(trace: TokenTrace) -> tuple[bool, float]:
                number = figure(trace, quantity)
                return math.isnan(number), 0.0 if math.isnan(number) else -number if down else number

            rows.sort(key=key)
        return rows

    def sort(self) -> None:
        """By the column under the cursor: largest first, then smallest first, then as in the text."""
        here = self.current
        down = (self.column, True)
        self.order = down if self.order not in (down, (self.column, False)) else (
            (self.column, False) if self.order == down else None
        )  # fmt: skip
        self.show_all(self._ordered())
        if here is not None:
            self.go_to(here.position)
        self.post_message(self.ColumnMoved())

    def go_to(self, position: int) -> None:
        """Put the cursor on the token at `position` of the text."""
        for index, trace in enumerate(self._ordered()):
            if trace.position == position:
                self.cursor = index

    def action_column(self, by: int) -> None:
        """The next or previous quantity; round at the ends."""
        self.column = (self.column + by) % len(QUANTITIES)
        self.refresh()
        self.post_message(self.ColumnMoved())

    def widths(self, width: int) -> tuple[int, int]:
        """Cells of the token and of each number."""
        number = max(7, min(11, (width - PLACE_CELLS - 16) // len(QUANTITIES)))
        return max(LEAST_TOKEN_CELLS, width - PLACE_CELLS - number * len(QUANTITIES)), number

    def head(self, width: int) -> Content:
        """The names of the columns; the chosen one lit, the one in order with an arrow."""
        token, number = self.widths(width)
        parts: list[tuple[str, str]] = [("   # token".ljust(PLACE_CELLS + token), "$foreground-muted")]
        for index, quantity in enumerate(QUANTITIES):
            arrow = ("▼" if self.order[1] else "▲") if self.order and self.order[0] == index else ""
            style = "bold $text-primary underline" if index == self.column else "$foreground-muted"
            text = f"{arrow}{quantity.head}"[: number - 1]
            parts += [(" " * (number - len(text)), ""), (text, style)]
        return Content.assemble(*parts)

    def draw_row(self, row: TokenTrace, width: int) -> Content:
        """One token."""
        token, number = self.widths(width)
        name = Content(visible(row.token)).truncate(token - 1, ellipsis=True, pad=True)
        parts: list[Content | tuple[str, str]] = [
            (f"{row.position:>3} ", "$foreground-muted"),
            name,
            (" ", ""),
        ]
        for index, quantity in enumerate(QUANTITIES):
            style = "$text-primary" if index == self.column else ""
            parts.append((short(figure(row, quantity), number), style))
        return Content.assemble(*parts)


class TraceHeat(VerticalScroll, can_focus=True):
    """Heat lines of the quantities over the text: all of them where there is room, else the chosen one."""

    DEFAULT_CSS = """
    TraceHeat {
        scrollbar-size-vertical: 1;
        Static { height: auto; margin-bottom: 1; }
        Static.-chosen { text-style: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "token(-1)", "Token before", key_display="← →", show=False),
        Binding("right", "token(1)", "Next token", show=False),
        Binding("up", "quantity(-1)", "Quantity before", key_display="↑ ↓", show=False),
        Binding("down", "quantity(1)", "Next quantity", show=False),
    ]

    @dataclass
    class Moved(Message):
        """The keys ask for a token or a quantity further on."""

        tokens: int = 0
        quantities: int = 0

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._tokens: Sequence[TokenTrace] = ()
        self._chosen, self._position = 0, 0
        self.all_quantities = False

    def compose(self) -> ComposeResult:
        for quantity in QUANTITIES:
            yield Static(id=f"heat-{quantity.field.rstrip('_')}", markup=False)

    def put(self, tokens: Sequence[TokenTrace], chosen: int, position: int) -> None:
        """Draw the response with the token at `position` marked."""
        self._tokens, self._chosen, self._position = tokens, chosen, position
        self.draw()

    def draw(self) -> None:
        """Draw again: another size, another theme."""
        ground = self.background_colors[1]
        words = [trace.token for trace in self._tokens]
        for index, (quantity, line) in enumerate(zip(QUANTITIES, self.query(Static), strict=True)):
            numbers = [figure(trace, quantity) for trace in self._tokens]
            known = any(map(math.isfinite, numbers))
            line.display = index == self._chosen or (self.all_quantities and known)
            if not line.display:
                continue
            scale = scale_of(self._tokens, quantity)
            legend = legend_content("", scale, ground, 10) if known else Content(" not known here")
            chosen = "bold $text-primary underline" if index == self._chosen else "bold"
            label = Content.assemble((quantity.head, chosen), legend)
            if self.all_quantities and label.cell_length + len(quantity.meaning) + 4 <= self.size.width:
                label += Content.styled(f"  {quantity.meaning}", "$foreground-muted")
            text = heat_content(words, numbers, scale, ground, marked=self._position)
            line.update(Content("\n").join([label, text]))
            if index == self._chosen and self.all_quantities:
                line.scroll_visible(animate=False)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        if self.is_mounted and self._tokens:
            self.draw()

    def action_token(self, by: int) -> None:
        """The next or previous token, told to the screen."""
        self.post_message(self.Moved(tokens=by))

    def action_quantity(self, by: int) -> None:
        """The quantity that colours the tokens, told to the screen."""
        self.post_message(self.Moved(quantities=by))
