"""The part of the rank screen that is for reading: how the texts stand, scroll, and are looked at closely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import work
from textual.containers import VerticalScroll

from workbench.keyboard import DIALOG
from workbench.screens.base import told
from workbench.screens.rank.cards import Cards, PromptPane
from workbench.screens.rank.dialogs import DifferenceScreen, ZoomScreen
from workbench.screens.rank.layout import VIEWS, View, prompt_rows
from workbench.screens.rank.live import LiveScreen

if TYPE_CHECKING:
    from workbench.services.ranking.judging import RankItem

TALL = 36
"""Rows from which the prompt gets more room."""
WIDE = 110
"""Columns from which a terminal remembers a layout of its own."""
FIXED_ROWS = 6
"""Header, key bar and the three lines around the texts."""


class ReadingScreen(LiveScreen):
    """A screen with a prompt and the responses to it."""

    item: RankItem | None = None
    acknowledged = ""
    """What was just done, in the line of the pace."""

    def show_lines(self, *, incomplete: bool = False) -> None:
        """The lines around the texts anew."""

    def say(self, text: str) -> None:
        """Tell what a key has done where the eyes are anyway."""
        self.acknowledged = text
        self.show_lines()

    @property
    def size_class(self) -> str:
        """Under what the way of reading is remembered: wide or narrow terminals."""
        return "wide" if self.app.size.width >= WIDE else "narrow"

    def on_resize(self) -> None:
        self.set_class(self.app.size.height >= TALL, "-tall")
        if self.size_class != self._size_class:
            self.recall_reading()
        self.fit()

    _size_class = ""

    @work(group="reading", exclusive=True)
    @told
    async def recall_reading(self) -> None:
        """How responses stand in a terminal of this width, and scroll, as the store remembers it."""
        self._size_class = self.size_class
        key = self._size_class
        view, together = await self.ask(lambda w: (w.judging.reading.view(key), w.judging.reading.together))
        cards = self.query_one(Cards)
        cards.view, cards.together = view if view in VIEWS else "auto", together
        cards.lay_out()
        self.fit()

    def fit(self) -> None:
        """Give the prompt the rows that the responses do not need."""
        if self.item is None:
            return
        width, room = self.app.size.width, self.app.size.height - FIXED_ROWS
        pane, cards = self.query_one(PromptPane), self.query_one(Cards)
        most = 12 if self.app.size.height >= TALL else 5
        wanted = pane.rows(width)
        rows = prompt_rows(room, wanted, cards.rows(width, room - min(wanted, most)), most)
        pane.styles.height = rows

    def action_layout(self) -> None:
        """The next of the layouts, remembered for terminals of this width."""
        cards = self.query_one(Cards)
        names: list[View] = list(VIEWS)
        cards.view = names[(names.index(cards.view) + 1) % len(names)]
        cards.lay_out()
        self.fit()
        self.remember_reading()
        self.say(f"responses stand {VIEWS[cards.view]}")

    def action_together(self) -> None:
        """Whether one key scrolls every response or the open one; remembered."""
        cards = self.query_one(Cards)
        cards.together = not cards.together
        self.remember_reading()
        self.say(f"responses scroll {'together' if cards.together else 'each alone'}")

    @work(group="remember", exclusive=True)
    @told
    async def remember_reading(self) -> None:
        """Keeps view and scrolling for the next session on a terminal of this width."""
        cards, key = self.query_one(Cards), self.size_class
        view, together = cards.view, cards.together
        await self.ask(lambda w: w.judging.reading.remember(key, view, together))

    # -- scrolling and looking closely ------------------------------

    def action_scroll(self, lines: int) -> None:
        """Scrolls the prompt where it has the focus, else the responses."""
        if isinstance(self.focused, PromptPane):
            self.focused.scroll_by_lines(lines)
        else:
            self.query_one(Cards).scroll(lines)

    def action_scroll_page(self, pages: int) -> None:
        """A page of the prompt where it has the focus, else of the responses."""
        if isinstance(self.focused, PromptPane):
            self.focused.scroll_by_lines(pages * max(1, self.focused.size.height - 1))
        else:
            self.query_one(Cards).scroll(pages, pages=True)

    def action_scroll_edge(self, end: bool) -> None:
        """To the beginning or the end, of the prompt where it has the focus."""
        pane = self.focused if isinstance(self.focused, PromptPane) else None
        if pane is None:
            self.query_one(Cards).to_edge(end=end)
        else:
            (pane.scroll_end if end else pane.scroll_home)(animate=False)

    def action_move(self, by: int, vertical: bool) -> None:
        """Opens a card beside, or below or above, the open one."""
        cards = self.query_one(Cards)
        cards.move(by * cards.columns if vertical else by)

    def action_zoom(self) -> None:
        """The focused response, or the prompt, alone on the screen."""
        card = self.query_one(Cards).opened
        if isinstance(self.focused, PromptPane) or card is None:
            self.action_whole()
        elif self.item is not None:
            self.app.push_screen(ZoomScreen(f"Response {card.letter}", card.text))

    def action_whole(self) -> None:
        """The whole conversation in its order."""
        if self.item is None:
            return
        turns = self.item.messages
        if len(turns) == 1:
            self.app.push_screen(ZoomScreen("Prompt", turns[0]["content"]))
        else:
            text = "\n\n".join(f"**{turn['role']}**\n\n{turn['content']}" for turn in turns)
            self.app.push_screen(ZoomScreen(f"Conversation of {len(turns)} turns", text))
            self.app.screen.call_after_refresh(_to_end, self.app.screen)

    def action_differences(self) -> None:
        """The open response beside the next one, word by word."""
        if self.item is None or len(self.item.responses) < 2:
            return
        cards = self.query_one(Cards).cards
        here = next((i for i, card in enumerate(cards) if card.has_class("-open")), 0)
        beside = here + 1 if here + 1 < len(cards) else here - 1
        self.app.push_screen(DifferenceScreen([card.text for card in cards], *sorted((here, beside))))

    @work(group=DIALOG)
    @told
    async def action_guidelines(self) -> None:
        """The guidelines of the project or the settings, on a screen of their own."""
        text = await self.ask(lambda w: w.judging.reading.guidelines())
        self.app.push_screen(ZoomScreen("Guidelines", text))


def _to_end(screen: object) -> None:
    """The last turn is what is to be answered."""
    if isinstance(screen, ZoomScreen):
        screen.query_one("#zoom", VerticalScroll).scroll_end(animate=False)
