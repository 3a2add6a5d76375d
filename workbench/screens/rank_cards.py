"""What the rank screen shows of an item: the prompt and one card for each response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench.screens.rank_layout import View, card_rows, columns_in
from workbench.services.draft import LETTERS, MIDDLE, Draft
from workbench.widgets.safe import safe_content, safe_line

SHOWN_CHARACTERS = 12_000
"""Of one response on its card; z shows up to the whole."""
FRAME_CELLS = 4
"""Border and padding of a pane, left and right together."""


class Scroller(VerticalScroll, can_focus=True, inherit_bindings=False):
    """A pane whose keys are left to the screen."""

    def scroll_by_lines(self, lines: int) -> None:
        self.scroll_relative(y=lines, animate=False)


def lines_of(content: Content, width: int) -> int:
    """Lines that a text takes in `width` cells."""
    return content.get_height({}, max(1, width)) if width > 0 else 1


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


def conversation_content(messages: Sequence[dict[str, str]]) -> Content:
    """The last turn, which is to be answered, first; below it how it came to that."""
    if len(messages) == 1:
        return safe_content(messages[0]["content"], SHOWN_CHARACTERS)
    parts: list[Content | str | tuple[str, str]] = [safe_content(messages[-1]["content"], SHOWN_CHARACTERS)]
    parts.append(("\n── before that ──", "$foreground-muted not bold"))
    for turn in messages[:-1]:
        parts += [
            (f"\n{safe_line(turn['role'], 20)}: ", "$foreground-muted not bold"),
            safe_content(turn["content"], SHOWN_CHARACTERS).stylize("not bold"),
        ]
    return Content.assemble(*parts)


class PromptPane(Scroller):
    """The prompt, or the conversation with its last turn first, of the item."""

    content = Content("")

    def compose(self) -> ComposeResult:
        yield Static(id="prompt-text")

    def show(self, messages: Sequence[dict[str, str]]) -> None:
        self.content = conversation_content(messages)
        self.query_one(Static).update(self.content)
        several = len(messages) > 1
        self.border_title = f"Conversation, the last of {len(messages)} turns first" if several else "Prompt"
        self.scroll_home(animate=False)
        self.call_after_refresh(self._say_if_cut)

    def rows(self, width: int) -> int:
        """Rows, border and all, that show all of it in `width` cells."""
        return lines_of(self.content, width - FRAME_CELLS) + 2

    def on_resize(self) -> None:
        self.call_after_refresh(self._say_if_cut)

    def _say_if_cut(self) -> None:
        self.border_subtitle = "w  all of it" if self.max_scroll_y > 0 else ""


class ResponseCard(Scroller):
    """One response under its letter.  Closed, it is one line; open, its text scrolls."""

    def __init__(self, position: int, response_id: str, text: str) -> None:
        super().__init__(classes="pane")
        self.position = position
        self.letter = LETTERS[position]
        self._take(response_id, text)

    def _take(self, response_id: str, text: str) -> None:
        self.response_id, self.text = response_id, text
        self.content = response_content(text)
        self._shown: tuple[str, bool] | None = None
        """The badge that stands there: what stays as it is need not be painted."""

    def compose(self) -> ComposeResult:
        yield Static(classes="line")
        yield Static(self.content, classes="text")

    def on_mount(self) -> None:
        self._show_badge("·", placed=False)

    def replace(self, response_id: str, text: str) -> None:
        """Show another response under the same letter, from its start."""
        self._take(response_id, text)
        self.query_one(".text", Static).update(self.content)
        self.scroll_home(animate=False)

    def show_draft(self, draft: Draft) -> None:
        """What has been said of it: its rank, or its ratings."""
        if draft.mode == "rate":
            found = [draft.rating(name, self.response_id) for name in draft.criteria]
            badge = " ".join("·" if value is None else str(value) for value in found)
            self._show_badge(badge, placed=all(value is not None for value in found))
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
        """The letter and what was said: in the border when open, before the text when closed."""
        if self._shown == (badge, placed):
            return
        self._shown = badge, placed
        colour = "bold $secondary" if placed else "bold $accent"
        self.set_class(placed, "-placed")
        line = Content.assemble(
            (f" {self.letter} ", colour),
            (f" {badge}  ", colour if placed else "$foreground-muted"),
            Content(safe_line(self.text)) if self.text.strip() else self.content,
        )
        self.query_one(".line", Static).update(line, layout=False)
        self.border_title = Content.styled(f" {self.letter} ", colour)
        shown = f"rank {badge}" if badge.strip("()").isdigit() else badge
        self.border_subtitle = Content.styled("" if badge == "·" else shown, colour)


class Cards(Container):
    """The responses: side by side where there is room, else one open and the others as lines."""

    view: View = "auto"
    columns = 1
    together = False
    """Scrolling one scrolls all."""

    async def show(self, responses: Sequence[Any], draft: Draft) -> None:
        """Replace what is shown; the first is opened.  Cards that stand already are used again."""
        cards = self.cards
        if len(cards) == len(responses):
            for card, candidate in zip(cards, responses, strict=True):
                card.replace(candidate.response_id, candidate.text)
        else:
            await self.remove_children()
            await self.mount_all(
                ResponseCard(position, candidate.response_id, candidate.text)
                for position, candidate in enumerate(responses)
            )
        self.lay_out()
        self.show_draft(draft)
        if cards := self.cards:
            self.open(cards[0])

    @property
    def cards(self) -> list[ResponseCard]:
        return list(self.query(ResponseCard))

    @property
    def opened(self) -> ResponseCard | None:
        """The card that keys without a letter are meant for."""
        return next((card for card in self.cards if card.has_class("-open")), None)

    def open(self, card: ResponseCard, *, focus: bool = True) -> None:
        for other in self.cards:
            other.set_class(other is card, "-open")
        if focus and not isinstance(self.screen.focused, ResponseCard):
            card.focus(scroll_visible=False)  # a cursor that moves on has the whole screen painted anew

    def lay_out(self) -> None:
        """Choose columns for the room there is."""
        count = len(self.cards)
        columns = columns_in(self.view, count, self.size.width, self.size.height) if count else 1
        self.set_class(columns == 0, "-stack")
        self.columns = columns or 1
        if columns:
            self.styles.grid_size_columns = columns
            self.styles.grid_size_rows = -(-count // columns)

    def rows(self, width: int, height: int) -> int:
        """Rows that would show all of every response in so many cells."""
        cards = self.cards
        columns = columns_in(self.view, len(cards), width, height)
        inner = width // max(1, columns) - FRAME_CELLS
        return card_rows([lines_of(card.content, inner) for card in cards], columns)

    def on_resize(self) -> None:
        self.lay_out()

    def show_draft(self, draft: Draft) -> None:
        for card in self.cards:
            card.show_draft(draft)

    def scroll(self, lines: int, *, pages: bool = False) -> None:
        """Scroll the open response, or all of them together."""
        opened = self.opened
        for card in self.cards if self.together else [opened] if opened is not None else []:
            card.scroll_by_lines(lines * (max(1, card.size.height - 1) if pages else 1))

    def to_edge(self, *, end: bool) -> None:
        """The open response, or all of them, from its start or at its end."""
        opened = self.opened
        for card in self.cards if self.together else [opened] if opened is not None else []:
            (card.scroll_end if end else card.scroll_home)(animate=False)

    def move(self, by: int) -> None:
        """Open the card `by` places further, if there is one."""
        cards = self.cards
        here = next((i for i, card in enumerate(cards) if card.has_class("-open")), 0)
        if 0 <= here + by < len(cards):
            self.open(cards[here + by])
