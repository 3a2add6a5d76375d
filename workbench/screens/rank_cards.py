"""What the rank screen shows of an item: the prompt and one card for each response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench.screens.rank_draft import LETTERS, Draft, columns_for
from workbench.widgets.safe import safe_content, safe_line

SHOWN_CHARACTERS = 12_000
"""Of one response on its card; z shows up to the whole."""


class Scroller(VerticalScroll, can_focus=True, inherit_bindings=False):
    """A pane whose arrows are left to the screen; pages, j and k scroll it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pagedown,ctrl+d", "page_down", "Scroll down a page", show=False),
        Binding("pageup,ctrl+u", "page_up", "Scroll up a page", show=False),
        Binding("j", "scroll_down", "Scroll down a line", show=False),
        Binding("k", "scroll_up", "Scroll up a line", show=False),
        Binding("home", "scroll_home", "To the start of the text", show=False),
        Binding("end", "scroll_end", "To the end of the text", show=False),
    ]


class PromptPane(Scroller):
    """The prompt, or the whole conversation, of the item."""

    def compose(self) -> ComposeResult:
        yield Static(id="prompt-text")

    def show(self, messages: Sequence[dict[str, str]]) -> None:
        parts: list[Content | str | tuple[str, str]] = []
        for turn in messages:
            if len(messages) > 1:
                parts.append((f"{safe_line(turn['role'], 20)}\n", "$foreground-muted"))
            parts += [safe_content(turn["content"], SHOWN_CHARACTERS), "\n\n"]
        self.query_one(Static).update(Content.assemble(*parts).rstrip())
        self.border_title = "Prompt" if len(messages) == 1 else "Conversation"
        self.scroll_home(animate=False)
        self.call_after_refresh(self._say_if_cut)

    def on_resize(self) -> None:
        self.call_after_refresh(self._say_if_cut)

    def _say_if_cut(self) -> None:
        self.border_subtitle = "tab z  whole prompt" if self.max_scroll_y > 0 else ""


class ResponseCard(Scroller):
    """One response under its letter.  Closed, it is one line; open, its text scrolls."""

    def __init__(self, position: int, response_id: str, text: str) -> None:
        super().__init__(classes="pane")
        self.position, self.response_id, self.text = position, response_id, text
        self.letter = LETTERS[position]

    def compose(self) -> ComposeResult:
        yield Static(classes="line")
        yield Static(safe_content(self.text, SHOWN_CHARACTERS), classes="text")

    def on_mount(self) -> None:
        self.show_rank(None)

    def show_rank(self, rank: int | None) -> None:
        """The letter and, once placed, the rank: in the border when open, before the text when closed."""
        colour = "bold $accent" if rank is None else "bold $secondary"
        badge = "·" if rank is None else str(rank)
        self.set_class(rank is not None, "-placed")
        line = Content.assemble(
            (f" {self.letter} ", colour),
            (f" {badge}  ", colour if rank else "$foreground-muted"),
            Content(safe_line(self.text)),
        )
        self.query_one(".line", Static).update(line)
        self.border_title = Content.styled(f" {self.letter} ", colour)
        self.border_subtitle = Content.styled("" if rank is None else f"rank {rank}", colour)


class Cards(Container):
    """The responses: side by side where there is room, else one open and the others as lines."""

    async def show(self, responses: Sequence[Any], draft: Draft) -> None:
        """Replace the cards; the first is focused."""
        await self.remove_children()
        await self.mount_all(
            ResponseCard(position, candidate.response_id, candidate.text)
            for position, candidate in enumerate(responses)
        )
        self.lay_out()
        self.show_ranks(draft)
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
        if focus:
            card.focus()

    def lay_out(self) -> None:
        """Choose columns for the room there is."""
        count = len(self.cards)
        columns = columns_for(count, self.size.width, self.size.height) if count else 1
        self.set_class(columns == 0, "-stack")
        self.columns = columns or 1
        if columns:
            self.styles.grid_size_columns = columns
            self.styles.grid_size_rows = -(-count // columns)

    columns = 1

    def on_resize(self) -> None:
        self.lay_out()

    def show_ranks(self, draft: Draft) -> None:
        for card in self.cards:
            card.show_rank(draft.rank(card.response_id))

    def move(self, by: int) -> None:
        """Open the card `by` places further, if there is one."""
        cards = self.cards
        here = next((i for i, card in enumerate(cards) if card.has_class("-open")), 0)
        if 0 <= here + by < len(cards):
            self.open(cards[here + by])
