"""What the rank screen shows of an item: the prompt and one card for each response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from workbench.screens.rank.card import FRAME_CELLS, SHOWN_CHARACTERS, ResponseCard
from workbench.screens.rank.layout import View, card_rows, columns_in
from workbench.services.ranking.draft import Draft
from workbench.widgets.safe import safe_content, safe_line

if TYPE_CHECKING:
    from workbench.services.ranking.item import Candidate


class Scroller(VerticalScroll, can_focus=True, inherit_bindings=False):
    """A pane whose keys are left to the screen."""

    def scroll_by_lines(self, lines: int) -> None:
        self.scroll_relative(y=lines, animate=False)


def lines_of(content: Content, width: int) -> int:
    """Lines that a text takes in `width` cells."""
    return content.get_height({}, max(1, width)) if width > 0 else 1


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
        """The conversation, its last turn first."""
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


class Cards(Container):
    """The responses: side by side where there is room, else one open and the others as lines."""

    view: View = "auto"
    columns = 1
    together = False
    """Scrolling one scrolls all."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._given: WeakKeyDictionary[ResponseCard, str | int] = WeakKeyDictionary()

    async def show(self, responses: Sequence[Candidate], draft: Draft) -> None:
        """Replace what is shown; the first is opened.  Cards that stand already are used again."""
        cards = self.cards
        if len(cards) == len(responses):
            self.swap(responses)
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

    def swap(self, responses: Sequence[Candidate]) -> None:
        """Other responses on the cards that stand, as many as these."""
        for card, candidate in zip(self.cards, responses, strict=True):
            card.replace(candidate.response_id, candidate.text)

    @property
    def cards(self) -> list[ResponseCard]:
        """The responses on screen, in the order shown."""
        return list(self.query(ResponseCard))

    @property
    def opened(self) -> ResponseCard | None:
        """The card that keys without a letter are meant for."""
        return next((card for card in self.cards if card.has_class("-open")), None)

    def open(self, card: ResponseCard, *, focus: bool = True) -> None:
        """Gives this card the room; the others show what is left."""
        for other in self.cards:
            other.set_open(other is card)
        self._give_rows()
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
        self._give_rows()

    def _give_rows(self) -> None:
        """One at a time: all rows to the open response, one to each other."""
        stacked = self.has_class("-stack")
        for card in self.cards:
            height = "1fr" if card.has_class("-open") or not stacked else 1
            if self._given.get(card) != height:
                self._given[card] = height
                card.styles.height = height

    def rows(self, width: int, height: int) -> int:
        """Rows that would show all of every response in so many cells."""
        cards = self.cards
        columns = columns_in(self.view, len(cards), width, height)
        inner = width // max(1, columns) - FRAME_CELLS
        return card_rows([card.rows(inner, height) for card in cards], columns)

    def on_resize(self) -> None:
        self.lay_out()

    def show_draft(self, draft: Draft) -> None:
        """Ranks and ratings of the draft on every card."""
        for card in self.cards:
            card.show_draft(draft)

    def scroll(self, lines: int, *, pages: bool = False) -> None:
        """Scroll the open response, or all of them together."""
        opened = self.opened
        for card in self.cards if self.together else [opened] if opened is not None else []:
            card.scroll_lines(lines * (max(1, card.size.height - 3) if pages else 1))

    def to_edge(self, *, end: bool) -> None:
        """The open response, or all of them, from its start or at its end."""
        opened = self.opened
        for card in self.cards if self.together else [opened] if opened is not None else []:
            card.scroll_to_line(card.max_top if end else 0)

    def move(self, by: int) -> None:
        """Open the card `by` places further, if there is one."""
        cards = self.cards
        here = next((i for i, card in enumerate(cards) if card.has_class("-open")), 0)
        if 0 <= here + by < len(cards):
            self.open(cards[here + by])
