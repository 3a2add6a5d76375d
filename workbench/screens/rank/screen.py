"""Judge the responses to one prompt after another, by keyboard.

Policy names stay hidden as long as a judgement can be taken back: until the session is ended, or for good.
What is placed is kept in the store with every key, and is there again after a crash.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.content import Content
from textual.events import DescendantFocus
from textual.widgets import Static

from workbench.keyboard import DIALOG
from workbench.messages import RankPrompt, Status
from workbench.screens.base import told
from workbench.screens.rank.asking import AskingScreen
from workbench.screens.rank.card import ResponseCard
from workbench.screens.rank.cards import Cards, PromptPane
from workbench.screens.rank.dialogs import SkipScreen
from workbench.screens.rank.keys import BINDINGS
from workbench.screens.rank.lines import Scales, order_line, pace_line
from workbench.screens.rank.live import LIVE_BINDINGS
from workbench.screens.rank.nothing import nothing_content
from workbench.services.ranking.attention import Attention
from workbench.services.ranking.draft import Draft

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from workbench.services.live import Agreement
    from workbench.services.ranking.judging import RankItem
    from workbench.services.workspace import Workspace

    Way = Callable[[Workspace], RankItem | None]
    Then = Callable[[RankItem], Awaitable[None]]


SLOW_SECONDS = 0.15
"""After so long a person is told that the judgement is being recorded."""


class RankScreen(AskingScreen):
    """One prompt and its responses in random order; the next comes by itself.

    A judgement counts as made only after the store has committed it: until then the ranks stay on the screen.
    While something is stored or fetched `keys_wait`: what is typed meanwhile is meant for what comes.
    """

    TITLE_TEXT = "Rank"
    LOOP = "Press letters from best to worst, = for a tie, then enter; the last place is implied."
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [*BINDINGS, *LIVE_BINDINGS]

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self._turn = asyncio.Lock()
        self._keeping = asyncio.Lock()
        self._unkept: tuple[RankItem, Draft] | None = None
        self._ready = False
        self._wanted: str | None = None
        self._ask_for_begun = True
        self._lines: dict[str, Content] = {}

    def compose_body(self) -> ComposeResult:
        yield Static(id="pace")
        yield PromptPane(id="prompt", classes="pane")
        yield Cards(id="cards")
        yield Static(id="order")
        yield Static(id="live")
        yield Static(id="nothing", classes="empty")

    def on_mount(self) -> None:
        self.watch(self.workbench, "status", self._store_changed, init=False)
        self.follow_live()
        self._ready = True
        self.next_item()
        self._at_work -= 1

    def on_screen_resume(self) -> None:
        self.attention.come_back()
        if self._ready and not self.keys_wait:
            self.look_again()

    @work(group="item")
    @told
    async def look_again(self) -> None:
        """Fetch where nothing stands here, or what does is of a project that is not followed any more.

        What is being fetched already comes first: it may be what was asked for by name.
        """
        async with self._turn:
            item = self.item
            if item is None or not (await self.ask(lambda w: w.judging.follows(item)) or self.keys_wait):
                self._at_work += 1
                try:
                    await self._fetch()
                finally:
                    self._at_work -= 1

    def on_screen_suspend(self) -> None:
        self.attention.leave()

    def on_key(self, event: events.Key) -> None:
        self.attention.touch()

    @on(events.MouseScrollDown)
    @on(events.MouseScrollUp)
    @on(events.Click)
    def seen(self) -> None:
        """Any key or click is a sign that the annotator is at work."""
        self.attention.touch()

    def _store_changed(self, status: Status) -> None:
        self.notice()
        if self.nothing and self.is_current and not self.keys_wait:
            self.look_again()

    # -- items ------------------------------

    @property
    def annotator(self) -> str:
        """Whose judgements are made here."""
        return self.workspace.settings.annotator

    def order_changed(self) -> None:
        if not self.draft.begun and not self.keys_wait:  # a ranking that has begun is ended first
            self.next_item()

    def on_rank_prompt(self, message: RankPrompt) -> None:
        """Show this prompt next, whatever stands here."""
        self._wanted = message.prompt_id
        if self._ready:
            self.next_item(only_wanted=True)

    def next_item(self, *, only_wanted: bool = False) -> None:
        """Fetch what comes next and show it; `only_wanted`: unless an earlier fetch has shown it by then."""
        self._at_work += 1
        self._next_item(only_wanted)

    @work(group="item")
    @told
    async def _next_item(self, only_wanted: bool) -> None:
        try:
            async with self._turn:
                if self._wanted is not None or not only_wanted:
                    await self._fetch()
        finally:
            self._at_work -= 1

    async def _fetch(self) -> None:
        """What was asked for, what was begun before a crash, or what comes next."""
        mode, wanted, begun = self.mode, self._wanted, self._ask_for_begun
        self._wanted, self._ask_for_begun = None, False

        def find(w: Workspace) -> tuple[RankItem | None, Scales]:
            """In one turn of a thread: beside a training each waits for a core."""
            judging, annotator = w.judging, w.settings.annotator
            item = None
            if wanted is not None:
                item = judging.item(wanted, annotator, mode=mode)
            elif begun:
                item = judging.resume(annotator)
            return item or judging.next_item(annotator, mode=mode), judging.criteria

        item, scales = await self.ask(find)
        if self._wanted is None:
            await self._show(item, scales)
        else:  # asked for meanwhile: what comes next is not even shown
            await self._fetch()

    async def _show(self, item: RankItem | None, scales: Scales) -> None:
        """Replace what stands here."""
        self.item, self.draft = None, Draft()
        if item is not None:
            self.mode = item.mode
        mode = self.mode
        self.scales = scales
        self.set_class(item is None, "-nothing")
        if item is None:
            self.pace = pace = await self.ask(lambda w: w.judging.pace(w.settings.annotator, mode=mode))
            self.query_one("#nothing", Static).update(
                nothing_content(pace, self.annotator, guest=bool(self.workbench.status.guest))
            )
            self.workbench.forget_typed("There is nothing left to judge here")
        else:
            self.query_one(PromptPane).show(item.messages)
            await self.query_one(Cards).show(item.shown(item.draft), item.draft)
            self.item, self.draft = item, item.draft
            self.fit()
            self.call_after_refresh(self.count)
        self.attention.begin(self.draft.seconds)
        self.show_lines()

    def show_lines(self, *, incomplete: bool = False) -> None:
        """Both lines anew; `incomplete` says what is missing after ⏎ came too early."""
        pace = pace_line(self.pace, self.draft, self.mode, self.acknowledged, self.app.size.width - 4)
        self._put("#pace", pace)
        self.show_live()
        line = Content("")
        if self.item is not None and self._at_work and self.draft.complete:
            line = Content.styled("recording …", "$foreground-muted")
        elif self.item is not None:
            line = order_line(self.draft, self.rating_now, self.scales, incomplete=incomplete)
        self._put("#order", line)
        self.refresh_bindings()

    def _put(self, place: str, line: Content) -> None:
        """What stays as it is, colours too, need not be painted."""
        if not self._lines.setdefault(place, Content("")).is_same(line):
            self._lines[place] = line
            self.query_one(place, Static).update(line, layout=False)

    # -- what is begun is kept ------------------------------

    def keep(self) -> None:
        """Let the store have the draft as it stands now."""
        if self.item is not None:
            self.draft = replace(self.draft, seconds=self.attention.seconds)
            self._unkept = (self.item, self.draft)
            self.call_after_refresh(self._keep)  # what is seen comes first: the store takes a core for 7 ms

    @work(group="keep")
    @told
    async def _keep(self) -> None:
        """One writer at a time; of several keys only the last state is written."""
        async with self._keeping:
            unkept, self._unkept = self._unkept, None
            if unkept is not None and unkept[0] is self.item:
                item, draft = unkept
                await self.ask(lambda w: w.judging.keep(item, w.settings.annotator, draft))

    # -- judging ------------------------------

    def action_submit(self) -> None:
        if self.keys_wait or self.item is None:
            return
        if not self.draft.complete:
            self.show_lines(incomplete=True)
            return
        self._at_work += 1
        self.set_timer(SLOW_SECONDS, self._say_it_takes_long)
        self.record(self.item, self.draft)

    def _say_it_takes_long(self) -> None:
        """What is recorded as fast as one looks up is not announced: it would be painted for nothing."""
        if self._at_work and self.item is not None and self.draft.complete:
            self.show_lines()

    @work(group="item")
    @told
    async def record(self, item: RankItem, draft: Draft) -> None:
        """Store it; only when the store has it, say so and go on.  On an error everything stays."""
        seconds = self.attention.seconds

        def store(w: Workspace) -> Agreement | None:
            """The model's ranking is read first: nothing that may fail comes after the commit."""
            agreement = w.live.agreement(draft.ranks()) if draft.mode == "rank" else None
            w.judging.submit(item, w.settings.annotator, draft, seconds=seconds)
            return agreement

        try:
            async with self._turn, self._keeping:
                self._unkept = None
                agreement = await self.ask(store)
                self.show_agreement(agreement, {key: draft.letter(key) for key in draft.responses})
                await self._go_on(f"✓ {draft.said()} recorded")
        except Exception:
            self.workbench.forget_typed("The judgement is not stored")
            raise
        finally:
            self._at_work -= 1
            self.show_lines()

    async def _go_on(self, acknowledged: str, *, judged: int = 1) -> None:
        """The store has committed: no key reaches this item any more, the next one comes."""
        self.item, self.draft = None, Draft()
        self.acknowledged = acknowledged
        if self.pace is not None:
            done, left = self.pace.done + judged, max(0, self.pace.remaining - 1)
            self.pace = replace(self.pace, done=done, remaining=left)
        try:
            await self._fetch()
        except BaseException:  # what was recorded is said all the same
            self.show_lines()
            raise
        self.call_after_refresh(self.workbench.refresh_status)  # what is seen comes first

    @work(group=DIALOG)
    @told
    async def action_skip(self) -> None:
        """Ask why, record that, go on."""
        item, draft = self.item, self.draft
        if self.keys_wait or item is None:
            return
        self._at_work += 1
        try:
            reason = await self.app.push_screen_wait(SkipScreen())
            if reason is None:
                return
            seconds = self.attention.seconds
            async with self._turn, self._keeping:
                self._unkept = None
                await self.ask(
                    lambda w: w.judging.skip(
                        item,
                        w.settings.annotator,
                        reason,
                        seconds=seconds,
                        flagged=draft.flagged,
                        note=draft.note or None,
                        spans=draft.spans,
                    )
                )
                await self._go_on("✓ not rankable", judged=0)
        finally:
            self._at_work -= 1

    def action_undo(self) -> None:
        """Take the last judgement back and show it again with what was said."""
        nothing = "There is no judgement of yours to take back."
        self._go_back_or_forth(lambda w: w.judging.undo(w.settings.annotator), nothing, self._show_again)

    def action_redo(self) -> None:
        """Record again what was taken back last, as it was."""
        nothing = "Nothing was taken back since."
        self._go_back_or_forth(lambda w: w.judging.redo(w.settings.annotator), nothing, self._recorded_again)

    def _go_back_or_forth(self, go: Way, nothing: str, then: Then) -> None:
        if not self.keys_wait:
            self._at_work += 1
            self._travel(go, nothing, then)

    @work(group="item")
    @told
    async def _travel(self, go: Way, nothing: str, then: Then) -> None:
        """What the service gives back, and what follows; `nothing` is told where it gives none."""
        try:
            async with self._turn, self._keeping:
                item = await self.ask(go)
                if item is None:
                    self.workbench.tell(nothing, severity="information")
                else:
                    await then(item)
        finally:
            self._at_work -= 1

    async def _show_again(self, item: RankItem) -> None:
        self.acknowledged = "✓ taken back"
        await self._show(item, await self.ask(lambda w: w.judging.criteria))
        self.call_after_refresh(self.workbench.refresh_status)

    async def _recorded_again(self, item: RankItem) -> None:
        self._unkept = None
        await self._go_on(f"✓ {item.draft.said() or 'not rankable'} recorded again")

    @on(DescendantFocus)
    def card_focused(self, event: DescendantFocus) -> None:
        """A card that is clicked or tabbed to opens."""
        if isinstance(event.widget, ResponseCard):
            self.query_one(Cards).open(event.widget, focus=False)

    def action_generate(self) -> None:
        self.workbench.action_launch("generate")

    def action_import(self) -> None:
        self.workbench.action_import()
