"""Judge the steps of one response after another: good, neutral, bad, or the first wrong one."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.wording import counted
from workbench.screens.base import WorkbenchScreen, told
from workbench.services.ranking.attention import Attention
from workbench.widgets.safe import safe_content, safe_line

if TYPE_CHECKING:
    from textual import events

    from workbench.services.ranking.stepping import SteppedItem
    from workbench.services.workspace import Workspace

MARKS: dict[int | None, tuple[str, str]] = {
    1: ("✓", "$text-success"),
    0: ("○", "$text-warning"),
    -1: ("✗", "$text-error"),
    None: ("·", "$foreground-muted"),
}
SHOWN_STEPS = 300
STEP_CHARACTERS, PROMPT_CHARACTERS = 4_000, 8_000
NOTHING = (
    "There is no response of several lines whose steps you have not judged; generate or import some, or take "
    "the last one up again with u."
)


def step_content(number: int, text: str, label: int | None) -> Content:
    """One step: its mark, its number, its text."""
    mark, style = MARKS[label]
    shown = safe_content(text.strip("\n"), STEP_CHARACTERS)
    return Content.assemble((f"{mark} ", style), (f"{number:>3} ", "$foreground-muted"), shown)


def _keep(item: SteppedItem, w: Workspace) -> None:
    w.stepping.keep(item, w.settings.annotator)


class StepsScreen(WorkbenchScreen):
    """One response, its steps under each other; the next comes by itself.

    What is said counts as made only after the store has committed it.
    """

    TITLE_TEXT = "Steps"
    LOOP = "Which steps of this response are right, and which is the first wrong one?"
    CSS_PATH = "steps.tcss"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "record", "record", tooltip="Record it, show the next response"),
        Binding("g", "mark(1)", "good", tooltip="This step is good; on to the next"),
        Binding("n", "mark(0)", "neutral", tooltip="This step is neither good nor bad; on to the next"),
        Binding("b", "mark(-1)", "bad", tooltip="This step is bad; on to the next"),
        Binding("w", "first_wrong", "first wrong", tooltip="The first wrong step: all before it are good"),
        Binding("0,delete,backspace", "mark(None)", "Take the label off this step", show=False),
        Binding("s", "later", "later", tooltip="Leave this response for later"),
        Binding("u", "again", "undo", tooltip="The last one that you recorded, to be corrected"),
        Binding("j,down", "move(1)", "Next step", show=False),
        Binding("k,up", "move(-1)", "Step before", show=False),
        Binding("escape", "back", "back", tooltip="Back to where this was opened"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.item: SteppedItem | None = None
        self.cursor = 0
        self.attention = Attention()
        self._left: list[str] = []
        self._lines: list[Static] = []
        self._drawn: list[tuple[int | None, bool]] = []  # label and cursor of each line, as they stand there
        self._unkept: SteppedItem | None = None
        self._writing = asyncio.Lock()
        self._acknowledged = ""
        self._at_work = True

    def compose_body(self) -> ComposeResult:
        yield Static(id="steps-title", markup=False)
        with VerticalScroll(id="steps-prompt", classes="pane", can_focus=False) as prompt:
            prompt.border_title = "Prompt"
            yield Static(id="steps-prompt-text", markup=False)
        with VerticalScroll(id="steps-list", classes="pane", can_focus=False) as steps:
            steps.border_title = "Response, step by step"
        yield Static(id="steps-line", markup=False)

    def on_mount(self) -> None:
        self.fetch(again=False)

    @property
    def keys_wait(self) -> bool:
        """Something is stored or fetched: a key now would meet what goes away."""
        return self._at_work

    def on_key(self, event: events.Key) -> None:
        """Any key is a sign that the annotator is at work."""
        self.attention.touch()

    @work(group="steps", exclusive=True)
    @told
    async def fetch(self, *, again: bool) -> None:
        """What comes next, or what was recorded last."""
        await self._fetch(again=again)

    async def _fetch(self, *, again: bool) -> None:
        self._at_work, left = True, tuple(self._left)
        try:
            item = await self.ask(
                lambda w: (
                    w.stepping.last(w.settings.annotator)
                    if again
                    else w.stepping.next_item(w.settings.annotator, left)
                )
            )
            if item is not None or not again:
                await self._show(item)
        finally:
            self._at_work = False

    async def _show(self, item: SteppedItem | None) -> None:
        self.item, self.cursor = item, 0
        responses, judged = await self.ask(lambda w: w.stepping.done(w.settings.annotator))
        done = f"{counted(responses, 'response')}, {counted(judged, 'step')} judged"
        self.query_one("#steps-title", Static).update(
            Content.assemble((done, "bold"), (f"   {self._acknowledged}", "$text-success"))
        )
        prompt = Content("") if item is None else safe_content(item.prompt, PROMPT_CHARACTERS)
        self.query_one("#steps-prompt-text", Static).update(prompt)
        pane = self.query_one("#steps-list", VerticalScroll)
        await pane.remove_children()
        texts = () if item is None else item.texts[:SHOWN_STEPS]
        labels = () if item is None else item.labels
        self._lines = [
            Static(step_content(n + 1, text, label), classes="step", markup=False)
            for n, (text, label) in enumerate(zip(texts, labels, strict=False))
        ]
        self._drawn = [(label, False) for label, _ in zip(labels, texts, strict=False)]
        await pane.mount_all(self._lines)
        self.attention.begin(0.0)
        self._draw()

    def _draw(self) -> None:
        """Marks, cursor and the line below, as they are now; lines that stand so already are left."""
        item = self.item
        if item is None:
            self.query_one("#steps-line", Static).update(Content.styled(NOTHING, "$foreground-muted"))
            return
        for n, (line, drawn) in enumerate(zip(self._lines, self._drawn, strict=True)):
            wanted = (item.labels[n], n == self.cursor)
            if wanted == drawn:
                continue
            self._drawn[n] = wanted
            line.set_class(wanted[1], "-cursor")
            if wanted[0] != drawn[0]:
                line.update(step_content(n + 1, item.texts[n], item.labels[n]))
            if wanted[1]:
                line.scroll_visible(animate=False)
        said = item.said() or "g good, n neutral, b bad, w first wrong step; ⏎ records"
        hidden = len(item.texts) - SHOWN_STEPS
        more = f"   {counted(hidden, 'further step')} not shown" if hidden > 0 else ""
        self.query_one("#steps-line", Static).update(
            Content.assemble(
                f"step {self.cursor + 1} of {len(item.texts)}   ", (safe_line(said), "bold"), more
            )
        )

    def _last(self) -> int:
        """The last step that is shown."""
        return 0 if self.item is None else min(len(self.item.texts), SHOWN_STEPS) - 1

    def action_move(self, by: int) -> None:
        """The cursor, to another step."""
        self.cursor = max(0, min(self._last(), self.cursor + by))
        self._draw()

    def action_mark(self, label: int | None) -> None:
        """Label the step under the cursor and go on; taking a label off stays."""
        if self.item is not None and not self._at_work:
            self.item = self.item.marked(self.cursor, label)
            self.action_move(0 if label is None else 1)
            self._keep_soon()

    def action_first_wrong(self) -> None:
        """The step under the cursor is the first wrong one."""
        if self.item is not None and not self._at_work:
            self.item = self.item.wrong_from(self.cursor)
            self._draw()
            self._keep_soon()

    def _keep_soon(self) -> None:
        """Have what is said kept as a draft; while one is being written, the newest waits for its turn."""
        idle, self._unkept = self._unkept is None, self.item
        if idle:
            self.keep()

    @work(group="steps-draft")
    @told
    async def keep(self) -> None:
        """Write drafts until the newest is on disk: a process that is killed loses none of it."""
        try:
            while self._unkept is not None:
                async with self._writing:  # never behind what records it
                    if (item := self._unkept) is not None:
                        await self.ask(partial(_keep, item))
                        self._unkept = None if self._unkept is item else self._unkept
        except Exception:
            self._unkept = None
            raise

    def action_later(self) -> None:
        """Shows another response; this one comes again when the screen is opened anew."""
        if self.item is not None and not self._at_work:
            self._left.append(self.item.response_id)
            self._acknowledged, self._at_work = "", True
            self.fetch(again=False)

    def action_again(self) -> None:
        """What was recorded last stands here again with its labels; recording it replaces them."""
        if not self._at_work:
            self._acknowledged, self._at_work = "", True
            self.fetch(again=True)

    def action_record(self) -> None:
        """Stores it where something is said."""
        item = self.item
        if item is None or self._at_work:
            return
        if not item.judged:
            self.workbench.tell("Say something of a step first: g, n, b or w.", severity="information")
            return
        self._at_work = True
        self.record(item)

    @work(group="steps", exclusive=True)
    @told
    async def record(self, item: SteppedItem) -> None:
        """Only when the store has it, say so and go on.  On an error everything stays."""
        seconds = self.attention.seconds
        try:
            async with self._writing:
                await self.ask(lambda w: w.stepping.record(item, w.settings.annotator, seconds))
                self._unkept = None
            self._acknowledged = f"✓ {item.said()} recorded"
            self.workbench.refresh_status()
            await self._fetch(again=False)
        except Exception:
            self.workbench.forget_typed("The judgement is not stored")
            raise
        finally:
            self._at_work = False

    def action_back(self) -> None:
        self.dismiss()
