"""The part of the rank screen that asks and counts: notes, ways to judge, the session, the pace."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import work

from workbench.keyboard import DIALOG
from workbench.screens.base import told
from workbench.screens.rank.cards import Cards
from workbench.screens.rank.dialogs import NoteScreen, SessionScreen
from workbench.screens.rank.passages import PassageScreen
from workbench.screens.rank.placing import PlacingScreen
from workbench.services.ranking.draft import MODES, Mode
from workbench.widgets.choice import ChooseScreen

if TYPE_CHECKING:
    from workbench.services.ranking.judging import Pace

COUNT_RESTS = 10
"""After a count the screen rests this many times as long as it took."""


class AskingScreen(PlacingScreen):
    """A screen on which something may be under way that keys wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.pace: Pace | None = None
        self._at_work = 1
        """Storings, fetchings and questions under way; the first item is on its way from the start."""
        self._counting = self._stale = False

    @property
    def keys_wait(self) -> bool:
        """Something is stored or fetched: a key now would meet what goes away."""
        return self._at_work > 0

    @property
    def project(self) -> str:
        """Name of the project that is followed; empty without one."""
        return "" if self.pace is None else self.pace.project

    def next_item(self) -> None:
        """Fetch what comes next and show it."""

    def action_mode(self) -> None:
        """From rankings to pairs and back."""
        self._judge_by("pair" if self.mode == "rank" else "rank")

    @work(group=DIALOG)
    @told
    async def action_modes(self) -> None:
        """Asks how to judge: by ranking, pairs, the best, best and worst, ratings."""
        titles = {title: mode for mode, title in MODES.items()}
        chosen = await self.app.push_screen_wait(ChooseScreen("Judge by", list(titles), MODES[self.mode]))
        if chosen is not None:
            self._judge_by(titles[chosen])

    def _judge_by(self, mode: Mode) -> None:
        if self.project:
            self.say(f"the project {self.project} says how")
        elif not self.keys_wait and mode != self.mode:
            self.mode = mode
            self.acknowledged = ""
            self.next_item()

    @work(group=DIALOG)
    @told
    async def action_note(self) -> None:
        """Asks for a note; it is kept with the judgement if the prompt is still the same."""
        item = self.item
        if item is None or self.keys_wait:
            return
        self._at_work += 1
        try:
            note = await self.app.push_screen_wait(NoteScreen(self.draft.note))
            if note is not None and self.item is item:
                self.change(replace(self.draft, note=note))
        finally:
            self._at_work -= 1

    @work(group=DIALOG)
    @told
    async def action_passage(self) -> None:
        """Asks for comments on passages of the open response; they are kept with the judgement."""
        item, card = self.item, self.query_one(Cards).opened
        if item is None or card is None or self.keys_wait:
            return
        self._at_work += 1
        try:
            mine = [span for span in self.draft.spans if span.response_id == card.response_id]
            screen = PassageScreen(f"Response {card.letter}", card.response_id, card.text, mine)
            spans = await self.app.push_screen_wait(screen)
            if spans is not None and self.item is item:
                others = (span for span in self.draft.spans if span.response_id != card.response_id)
                self.change(replace(self.draft, spans=(*others, *spans)))
        finally:
            self._at_work -= 1

    @work(group=DIALOG)
    @told
    async def action_session(self) -> None:
        """How much and how fast; on request how the policies did, which ends the session."""
        may_show = await self.ask(lambda w: w.judging.may_reveal(w.settings.reveal))
        session = await self.ask(lambda w: w.judging.session(w.settings.annotator, names=False))
        if await self.app.push_screen_wait(SessionScreen(session, may_show=may_show)):
            session = await self.ask(lambda w: w.judging.session(w.settings.annotator, names=True))
            self.app.push_screen(SessionScreen(session, may_show=may_show))

    def action_project(self) -> None:
        self.workbench.action_project()

    @work(group="count")
    @told
    async def count(self) -> None:
        """Count what is done and left, and fetch what comes later; neither keeps anybody waiting.

        In a large store counting takes a second: it rests ten times as long, and is reckoned on meanwhile.
        """
        self._stale = True
        if self._counting:
            return
        self._counting = True
        try:
            while self._stale and self.item is not None:
                self._stale = False
                await asyncio.sleep(COUNT_RESTS * await self._count_once(self.mode))
        finally:
            self._counting = False

    async def _count_once(self, mode: Mode) -> float:
        """Seconds that it took."""
        begun = time.monotonic()
        pace = await self.ask(lambda w: w.judging.pace(w.settings.annotator, mode=mode))
        if mode == self.mode:
            self.pace = pace
            self.show_lines()
        await self.ask(lambda w: w.judging.prepare(w.settings.annotator, mode=mode))
        return time.monotonic() - begun
