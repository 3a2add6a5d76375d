"""Judge the responses to one prompt after another, by keyboard.

Policy names stay hidden until a judgement is stored; then the line below says whose responses those were.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Literal

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import DescendantFocus
from textual.widgets import Static

from workbench.messages import RankPrompt, Status
from workbench.screens.base import told
from workbench.screens.rank_cards import Cards, PromptPane, ResponseCard
from workbench.screens.rank_dialogs import NoteScreen, SkipScreen, ZoomScreen
from workbench.screens.rank_draft import LETTERS, Draft
from workbench.screens.rank_lines import order_line, pace_line
from workbench.screens.rank_live import LIVE_BINDINGS, LiveScreen
from workbench.widgets.safe import safe_line

if TYPE_CHECKING:
    from workbench.services.judging import Pace, RankItem
    from workbench.services.live import Agreement
    from workbench.services.workspace import Workspace

NOTHING = """Nothing to rank yet.

A prompt needs at least two responses.

[b]g[/b]   generate responses with a model
[b]i[/b]   import ranked responses or pairs"""
ALL_DONE = """Every prompt is judged.

[b]u[/b]   take the last judgement back
[b]p[/b]   change between rankings and pairs
[b]F8[/b]  train a reward model on the judgements"""

TALL = 36
"""Rows from which the prompt gets more room."""


class RankScreen(LiveScreen):
    """One prompt and its responses in random order; the next comes by itself.

    A judgement counts as made only after the store has committed it: until then the ranks stay on the screen.
    """

    TITLE_TEXT = "Rank"
    LOOP = "Press letters from best to worst, = for a tie, then enter."
    CSS_PATH = "rank.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "submit", "record", tooltip="Record the ranking, show the next prompt"),
        *(
            Binding(letter.lower(), f"letter('{letter}')", f"Place {letter}", show=False)
            for letter in LETTERS
        ),
        Binding("equals_sign", "tie", "tie", tooltip="The next letter ties with the last one"),
        *(Binding(str(rank), f"digit({rank})", f"Put at rank {rank}", show=False) for rank in range(1, 10)),
        Binding("backspace", "take_back", "Take the last placed response back", show=False),
        Binding("0,delete", "clear", "Take this response off its rank", show=False),
        Binding("t", "both_equal", "In pairs: neither is better", show=False),
        Binding("z", "zoom", "zoom", tooltip="This response alone, Markdown laid out"),
        Binding("s", "skip", "skip", tooltip="Skip this prompt, with a reason"),
        Binding("u", "undo", "undo", tooltip="Take the last judgement back and show it again"),
        Binding("p", "mode", "ranks/pairs", tooltip="Change between rankings and pairs"),
        *LIVE_BINDINGS,
        Binding("n", "note", "note", tooltip="Write a note on this judgement"),
        Binding("exclamation_mark", "flag", "flag", tooltip="Flag this judgement"),
        Binding("left", "move(-1, False)", "Response before", show=False),
        Binding("right", "move(1, False)", "Next response", show=False),
        Binding("up", "move(-1, True)", "Response above", show=False),
        Binding("down", "move(1, True)", "Response below", show=False),
        Binding("g", "generate", "Generate responses", show=False),
        Binding("i", "import", "Import a file", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.mode: Literal["rank", "pair"] = "rank"
        self.item: RankItem | None = None
        self.draft = Draft()
        self.flagged, self.note = False, ""
        self.pace: Pace | None = None
        self.acknowledged = ""
        self.revealed = ""
        self._shown_at = 0.0
        self._busy = False
        self._ready = False
        self._wanted: str | None = None

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

    def on_resize(self) -> None:
        self.set_class(self.app.size.height >= TALL, "-tall")

    def on_screen_resume(self) -> None:
        if self._ready and self.item is None:
            self.next_item()

    def _store_changed(self, status: Status) -> None:
        self.notice()
        if self.nothing and self.is_current:
            self.next_item()

    @property
    def nothing(self) -> bool:
        """The store had nothing to judge when it was last asked."""
        return self.has_class("-nothing")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only keys that mean something now: g and i are letters while there is something to judge."""
        if action in ("generate", "import"):
            return self.nothing
        if action == "letter":
            return self.item is not None and LETTERS.index(str(parameters[0])) < len(self.item.responses)
        if action in ("digit", "take_back", "clear"):
            return self.item is not None and self.mode == "rank"
        if action == "both_equal":
            return self.item is not None and self.mode == "pair"
        if action in ("submit", "tie", "zoom", "skip", "note", "flag"):
            return self.item is not None and not (action == "submit" and self.mode == "pair")
        return True

    # -- items ------------------------------

    @property
    def annotator(self) -> str:
        return self.workspace.settings.annotator

    def order_changed(self) -> None:
        if not self.draft.placed and not self._busy:  # a ranking that has begun is ended first
            self.next_item()

    def on_rank_prompt(self, message: RankPrompt) -> None:
        self.judge_prompt(message.prompt_id)

    def judge_prompt(self, prompt_id: str) -> None:
        """Show this prompt next, whatever stands here."""
        self._wanted = prompt_id
        if self._ready:
            self.next_item()

    @work(exclusive=True, group="next")
    @told
    async def next_item(self) -> None:
        """Fetch what comes next and show it."""
        mode, wanted = self.mode, self._wanted
        item = None
        if wanted is not None:
            item = await self.ask(lambda w: w.judging.item(wanted, w.settings.annotator, mode=mode))
        if item is None:
            item = await self.ask(lambda w: w.judging.next_item(w.settings.annotator, mode=mode))
        self._wanted = None  # only now: a newer question replaces this one and must still know it
        await self._show(item)

    async def _show(self, item: RankItem | None) -> None:
        """Replace what stands here; keys mean nothing until all of it stands."""
        self.item, self.draft = None, Draft()
        mode = self.mode
        self.pace = await self.ask(lambda w: w.judging.pace(w.settings.annotator, mode=mode))
        self.flagged, self.note = (item.flagged, item.note) if item is not None else (False, "")
        self.set_class(item is None, "-nothing")
        if item is None:
            text = ALL_DONE if self.pace.done else NOTHING
            self.query_one("#nothing", Static).update(Content.from_markup(text))
        else:
            draft = Draft.of(tuple(candidate.response_id for candidate in item.responses), item.previous)
            self.query_one(PromptPane).show(item.messages)
            await self.query_one(Cards).show(item.responses, draft)
            self.item, self.draft = item, draft
        self._shown_at = time.monotonic()
        self._show_lines()

    def _show_lines(self, *, incomplete: bool = False) -> None:
        """Both lines anew; `incomplete` says what is missing after ⏎ came too early."""
        pace = pace_line(
            self.pace, self.mode, self.flagged, self.note, self.acknowledged, self.app.size.width - 4
        )
        self.query_one("#pace", Static).update(pace)
        self.show_live()
        line = self._order_line()
        if incomplete:
            left = " ".join(self.draft.left)
            line = Content.styled(f"Place every response first; left: {left}", "bold $warning")
        self.query_one("#order", Static).update(line)
        self.refresh_bindings()

    def _order_line(self) -> Content:
        if self.item is None:
            return Content("")
        if self._busy:
            return Content.styled("recording …", "$foreground-muted")
        return order_line(self.draft, self.mode, self.revealed)

    # -- placing ------------------------------

    def _set(self, draft: Draft) -> None:
        if self._busy or self.item is None:
            return
        self.draft = draft
        self.acknowledged = self.revealed = ""
        self.forget_agreement()
        self.query_one(Cards).show_ranks(draft)
        self._show_lines()

    def action_letter(self, letter: str) -> None:
        """Open the response and put it next; in pair mode, it is the better one."""
        position = LETTERS.index(letter)
        cards = self.query_one(Cards).cards
        if self._busy or self.item is None or position >= len(cards):
            return
        card = cards[position]
        self.query_one(Cards).open(card)
        if self.mode == "pair":
            other = cards[1 - position]
            self._set(Draft(self.draft.responses).place(card.response_id, 1).place(other.response_id, 2))
            self.action_submit()
        else:
            self._set(self.draft.place_next(card.response_id))

    def action_digit(self, rank: int) -> None:
        card = self.query_one(Cards).opened
        if card is not None and self.mode == "rank":
            self._set(self.draft.place(card.response_id, rank))

    def action_tie(self) -> None:
        if self.mode == "pair":
            self.action_both_equal()
        else:
            self._set(self.draft.tie())

    def action_both_equal(self) -> None:
        """Pair mode: neither is better."""
        if self.mode == "pair" and self.item is not None and not self._busy:
            first, second = self.draft.responses
            self._set(Draft(self.draft.responses).place(first, 1).place(second, 1))
            self.action_submit()

    def action_take_back(self) -> None:
        self._set(self.draft.take_back())

    def action_clear(self) -> None:
        if (card := self.query_one(Cards).opened) is not None:
            self._set(self.draft.remove(card.response_id))

    def action_move(self, by: int, vertical: bool) -> None:
        cards = self.query_one(Cards)
        cards.move(by * cards.columns if vertical else by)

    @on(DescendantFocus)
    def card_focused(self, event: DescendantFocus) -> None:
        if isinstance(event.widget, ResponseCard):
            self.query_one(Cards).open(event.widget, focus=False)

    # -- judging ------------------------------

    def action_submit(self) -> None:
        if self._busy or self.item is None:
            return
        if not self.draft.complete:
            self._show_lines(incomplete=True)
            return
        self._busy = True
        self._show_lines()
        self.record(self.item, self.draft)

    @work(group="record")
    @told
    async def record(self, item: RankItem, draft: Draft) -> None:
        """Store the ranking; only when the store has it, say so and go on.  On an error everything stays."""
        seconds = time.monotonic() - self._shown_at
        flagged, note = self.flagged, self.note or None

        def store(w: Workspace) -> tuple[dict[str, str], Agreement | None]:
            """Policies and the model's ranking, read first: nothing that may fail comes after the commit."""
            policies = {row.response_id: row.policy for row in w.library.responses(item.prompt_id)}
            agreement = w.live.agreement(draft.ranks())
            w.judging.record(
                item, w.settings.annotator, draft.ranks(), seconds=seconds, flagged=flagged, note=note
            )
            return {key: safe_line(policies.get(key, "?"), 24) for key in draft.responses}, agreement

        try:
            policies, agreement = await self.ask(store)
        except Exception:
            self._busy = False
            self._show_lines()
            raise
        self.show_agreement(agreement, {response: draft.letter(response) for response in draft.responses})
        several = len(set(policies.values())) > 1
        self._leave_item(f"✓ {draft.order()} recorded", draft.order(policies) if several else "")

    def _leave_item(self, acknowledged: str, revealed: str = "") -> None:
        """The store has committed: no key reaches this item any more, the next one comes."""
        self.item, self.draft, self._busy = None, Draft(), False
        self.acknowledged, self.revealed = acknowledged, revealed
        self._show_lines()
        self.workbench.refresh_status()
        self.next_item()

    @work(group="record")
    @told
    async def action_skip(self) -> None:
        """Ask why, record that, go on."""
        item = self.item
        if self._busy or item is None:
            return
        reason = await self.app.push_screen_wait(SkipScreen())
        if reason is None:
            return
        seconds = time.monotonic() - self._shown_at
        await self.ask(lambda w: w.judging.skip(item, w.settings.annotator, reason, seconds=seconds))
        self._leave_item("✓ skipped")

    @work(group="record")
    @told
    async def action_undo(self) -> None:
        """Take the last judgement back and show it again with its ranks."""
        if self._busy:
            return
        item = await self.ask(lambda w: w.judging.undo(w.settings.annotator))
        if item is None:
            self.workbench.tell("There is no judgement of yours to take back.", severity="information")
            return
        if len(item.responses) != 2:
            self.mode = "rank"  # two responses can be shown in either mode
        self.acknowledged, self.revealed = "✓ taken back", ""
        self.workbench.refresh_status()
        await self._show(item)

    def action_mode(self) -> None:
        """From rankings to pairs and back."""
        if not self._busy:
            self.mode = "pair" if self.mode == "rank" else "rank"
            self.acknowledged = self.revealed = ""
            self.next_item()

    def action_flag(self) -> None:
        if self.item is not None:
            self.flagged = not self.flagged
            self.acknowledged = ""
            self._show_lines()

    @work(group="note", exclusive=True)
    @told
    async def action_note(self) -> None:
        if self.item is None:
            return
        note = await self.app.push_screen_wait(NoteScreen(self.note))
        if note is not None:
            self.note, self.acknowledged = note, ""
            self._show_lines()

    def action_zoom(self) -> None:
        """The focused response, or the prompt, alone on the screen."""
        item = self.item
        if item is None:
            return
        card = self.query_one(Cards).opened
        if isinstance(self.focused, PromptPane) or card is None:
            self.app.push_screen(ZoomScreen("Prompt", "\n\n".join(turn["content"] for turn in item.messages)))
        else:
            self.app.push_screen(ZoomScreen(f"Response {card.letter}", card.text))

    def action_generate(self) -> None:
        self.workbench.action_launch("generate")

    def action_import(self) -> None:
        self.workbench.action_import()
