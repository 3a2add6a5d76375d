"""One response on the rank screen, painted line by line.

A widget with parts of its own costs a layout and a style sheet for every letter that opens another response.
This one wraps its text once for a width, keeps each painted line, and paints only what a key has changed.
"""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from workbench.services.ranking.draft import LETTERS, MIDDLE, Draft
from workbench.widgets.safe import safe_content, safe_line

SHOWN_CHARACTERS = 12_000
"""Of one response on its card; z shows up to the whole."""
FRAME_CELLS = 4
"""Border and padding of a pane, left and right together."""
WHEEL_LINES = 3
ROUND, HEAVY = "╭─╮│╰╯", "┏━┓┃┗┛"
"""Corners and edges: top left, horizontal, top right, vertical, bottom left, bottom right."""


def response_content(text: str) -> Content:
    """A response as its card shows it; one without a visible character says so."""
    if text.strip():
        return safe_content(text, SHOWN_CHARACTERS)
    count = len(text)
    said = (
        f"(nothing but white space: {count} character{'' if count == 1 else 's'})"
        if count
        else "(empty response)"
    )
    return Content.styled(said, "italic $foreground-muted")


class ResponseCard(Widget, can_focus=True):
    """One response under its letter.  One row high it is a line; higher, its text scrolls in a frame.

    Keys are left to the screen.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"card--frame", "card--open", "card--thumb"}
    ALLOW_SELECT = False

    def __init__(self, position: int, response_id: str, text: str) -> None:
        super().__init__()
        self.position = position
        self.letter = LETTERS[position]
        self.top = 0
        """The first line of the text that is shown."""
        self._take(response_id, text)

    def _take(self, response_id: str, text: str) -> None:
        self.response_id, self.text = response_id, text
        self.content = response_content(text)
        self._badge, self._placed = "·", False
        self._wrapped: tuple[int, list[Content]] = (0, [])
        self._painted: dict[int, Strip] = {}

    def replace(self, response_id: str, text: str) -> None:
        """Show another response under the same letter, from its start."""
        self._take(response_id, text)
        self.top = 0
        self.set_class(False, "-placed", update=False)
        self.refresh()

    # -- what is said of it ------------------------------

    def show_draft(self, draft: Draft) -> None:
        """Its rank, or its ratings."""
        if draft.mode == "rate":
            ratings = [draft.rating(name, self.response_id) for name in draft.criteria]
            badge = " ".join("·" if value is None else str(value) for value in ratings)
            self._show_badge(badge, placed=all(value is not None for value in ratings))
            return
        rank = draft.rank(self.response_id)
        if draft.mode == "best_worst" and rank is not None and len(draft.responses) > 2:
            badge = "best" if rank < MIDDLE else "worst"
        elif rank is None and draft.implied == self.response_id:
            badge = f"({draft.ranks()[self.response_id]})"
        else:
            badge = "·" if rank is None else str(rank)
        self._show_badge(badge, placed=rank is not None)

    def _show_badge(self, badge: str, *, placed: bool) -> None:
        if (self._badge, self._placed) != (badge, placed):
            self._badge, self._placed = badge, placed
            self.set_class(placed, "-placed", update=False)
            width, height = self.size
            self.refresh(Region(0, 0, width, 1), Region(0, max(0, height - 1), width, 1))

    def set_open(self, is_open: bool) -> None:
        """Whether keys without a letter are meant for it."""
        if self.has_class("-open") != is_open:
            self.set_class(is_open, "-open", update=False)
            width, height = self.size
            edges = (Region(0, 0, width, 1), Region(0, max(0, height - 1), width, 1))
            self.refresh(*edges, Region(0, 0, 1, height), Region(max(0, width - 1), 0, 1, height))

    # -- its text ------------------------------

    def lines(self, width: int) -> list[Content]:
        """The text in lines of at most `width` cells; the last width that was asked for is kept."""
        width = max(1, width)
        if self._wrapped[0] != width:
            self._wrapped = width, self.content.wrap(width)
            self._painted.clear()
        return self._wrapped[1]

    def rows(self, width: int, enough: int) -> int:
        """Lines that the text takes in `width` cells; of more than `enough` no more than that is known."""
        least = len(self.content.plain) // (2 * max(1, width))
        return least if least > enough else len(self.lines(width))

    @property
    def max_top(self) -> int:
        """The furthest that it scrolls."""
        width, height = self.size
        return max(0, len(self.lines(width - FRAME_CELLS)) - max(0, height - 2))

    def scroll_lines(self, lines: int) -> None:
        """Scrolls the text; the title says which part is seen."""
        self.scroll_to_line(self.top + lines)

    def scroll_to_line(self, line: int) -> None:
        """Show the text from this line, or as near as there is."""
        width, height = self.size
        top = max(0, min(line, self.max_top))
        if top != self.top:
            self.top = top
            self.refresh(Region(0, 1, width, max(1, height - 2)))

    def on_resize(self) -> None:
        self.top = min(self.top, self.max_top)

    def notify_style_update(self) -> None:
        """Other colours: paint anew."""
        super().notify_style_update()
        self._painted.clear()

    # -- the mouse ------------------------------

    def on_mouse_scroll_down(self) -> None:
        self.scroll_lines(WHEEL_LINES)

    def on_mouse_scroll_up(self) -> None:
        self.scroll_lines(-WHEEL_LINES)

    def on_click(self, event: events.Click) -> None:
        """On the edge where the thumb is: to that part of the text."""
        width, height = self.size
        if event.x == width - 1 and height > 2:
            self.scroll_to_line(round(self.max_top * (event.y - 1) / max(1, height - 3)))

    # -- painting ------------------------------

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        if height <= 1:
            return self._closed_line(width)
        if y in (0, height - 1):
            return self._edge(width, is_top=y == 0)
        return self._text_line(y - 1, width, height - 2)

    @property
    def _colour(self) -> str:
        return "bold $secondary" if self._placed else "bold $accent"

    def _strip(self, content: Content, width: int) -> Strip:
        """One line of text, `width` cells wide."""
        strips = Visual.to_strips(self, content, width, 1, self.visual_style)
        strip = strips[0] if strips else Strip.blank(width)
        return strip.adjust_cell_length(width, self.visual_style.rich_style)

    def _closed_line(self, width: int) -> Strip:
        """Letter, what was said of it, and the beginning of the text."""
        line = Content.assemble(
            (f"  {self.letter} ", self._colour),
            (f" {self._badge}  ", self._colour if self._placed else "$foreground-muted"),
            Content(safe_line(self.text)) if self.text.strip() else self.content,
        )
        return self._strip(line.truncate(max(1, width - 1), ellipsis=True), width)

    def _edge(self, width: int, *, is_top: bool) -> Strip:
        """The upper edge with the letter, or the lower one with what was said."""
        box = self._box
        left, flat, right = (box[0], box[1], box[2]) if is_top else (box[4], box[1], box[5])
        style = self._frame
        label = self.letter if is_top else self._said
        if not label:
            return Strip([Segment(left + flat * (width - 2) + right, style)], width)
        text = Content.styled(f" {label} ", self._colour).truncate(max(1, width - 4), ellipsis=True)
        middle = self._strip(text, text.cell_length)
        rest = flat * max(0, width - 3 - text.cell_length)
        before, behind = (left + flat, rest[1:] + flat + right) if is_top else (left + rest, flat + right)
        cells = Strip([Segment(before, style), *middle, Segment(behind, style)])
        return cells.adjust_cell_length(width, style)

    @property
    def _said(self) -> str:
        badge = self._badge
        if badge == "·":
            return ""
        return f"rank {badge}" if badge.strip("()").isdigit() else badge

    @property
    def _box(self) -> str:
        """Without colours the open response has another frame."""
        return HEAVY if self.app.no_color and self.has_class("-open") else ROUND

    @property
    def _frame(self) -> Style:
        name = "card--open" if self.has_class("-open") else "card--frame"
        return self.get_component_rich_style(name)

    def _text_line(self, y: int, width: int, rows: int) -> Strip:
        """A line of the text between the sides of the frame, the right one with the thumb."""
        inner = width - FRAME_CELLS
        lines = self.lines(inner)
        number = self.top + y
        strip = self._painted.get(number)
        if strip is None:
            content = lines[number] if number < len(lines) else Content("")
            strip = self._painted[number] = self._strip(content, inner)
        style, side = self._frame, self._box[3]
        thumb = self._is_thumb(y, rows, len(lines))
        right = Segment("█", self.get_component_rich_style("card--thumb")) if thumb else Segment(side, style)
        space = Segment(" ", self.visual_style.rich_style)
        return Strip([Segment(side, style), space, *strip, space, right], width)

    def _is_thumb(self, y: int, rows: int, lines: int) -> bool:
        """Whether the thumb is beside row `y` of `rows`; there is none where all is shown."""
        if lines <= rows:
            return False
        size = max(1, rows * rows // lines)
        start = round((rows - size) * self.top / (lines - rows))
        return start <= y < start + size
