"""Prompts that annotators disagree on, everybody's order side by side, and who decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.wording import counted
from workbench.keyboard import DIALOG
from workbench.screens.base import WorkbenchScreen, told
from workbench.widgets.choice import ChooseScreen
from workbench.widgets.row_list import RowList
from workbench.widgets.safe import safe_content, safe_line

if TYPE_CHECKING:
    from storage.measures.label_records import Disagreement
    from workbench.services.labels.labels import Dispute, StatedOrder

SHOWN_PROMPTS = 500
SHOWN_CHARACTERS = 8_000
NAME_WIDTH = 22
NONE = "Nobody contradicts anybody; it takes two on the same responses."
BY_HAND = "rank it yourself"


def draw_row(row: Disagreement, width: int) -> Content:
    """One line: how much is contradicted, whether somebody has decided, the prompt."""
    mark = ("✓", "$text-success") if row.adjudicated else (" ", "")
    share = f"{row.contradicted:>4g} of {row.compared:<4}"
    text = Content(safe_line(row.text)).truncate(max(8, width - 16), ellipsis=True)
    return Content.assemble(mark, (f" {share} ", "$foreground-muted"), text)


def letters(dispute: Dispute) -> dict[str, str]:
    """A letter for each response, the best of the consensus first."""
    order = sorted(dispute.texts, key=lambda r: (-dispute.qualities.get(r, (0.0, 0.0))[0], r))
    return {
        response: chr(ord("A") + place) if place < 26 else f"#{place + 1}"
        for place, response in enumerate(order)
    }


def order_text(column: StatedOrder, letter: dict[str, str]) -> str:
    """`A > B = C`: the places of a column in words."""
    by_rank: dict[int, list[str]] = {}
    for response, rank in column.places.items():
        by_rank.setdefault(rank, []).append(letter[response])
    return " > ".join(" = ".join(sorted(names)) for _, names in sorted(by_rank.items()))


def columns_content(dispute: Dispute, letter: dict[str, str]) -> Content:
    """Everybody's order, one a line, the consensus first."""
    lines = []
    for column in dispute.columns:
        name = safe_line(column.name, NAME_WIDTH).ljust(NAME_WIDTH)
        style = "bold $primary" if column.name in ("consensus", "adjudicated") else ""
        note = f"   {safe_line(column.note, 60)}" if column.note else ""
        lines.append(
            Content.assemble((name, style), (order_text(column, letter), "bold"), (note, "$foreground-muted"))
        )
    return Content("\n").join(lines)


def texts_content(dispute: Dispute, letter: dict[str, str]) -> Content:
    """The responses by their letters, each with its quality and its interval."""
    parts: list[Content | str | tuple[str, str]] = []
    for response, name in letter.items():
        quality = dispute.qualities.get(response)
        said = "" if quality is None else f"  quality {quality[0]:+.2f} ± {1.96 * quality[1]:.2f}"
        parts += [(name, "bold $secondary"), (said, "$foreground-muted"), "\n"]
        parts += [safe_content(dispute.texts[response], SHOWN_CHARACTERS), "\n\n"]
    return Content.assemble(*parts).rstrip()


class DisagreementsScreen(WorkbenchScreen):
    """The prompts most disagreed on; an adjudication says which order holds."""

    TITLE_TEXT = "Disagreements"
    LOOP = "Where do annotators contradict each other, and which order holds?"
    CSS_PATH = "disagreements.tcss"
    AUTO_FOCUS = "#disagreements"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", tooltip="Back to where this was opened"),
        Binding(
            "enter", "adjudicate", "adjudicate", tooltip="Choose the order that holds, or rank it yourself"
        ),
        Binding("c", "criterion", "criterion", tooltip="Another criterion"),
    ]

    def __init__(self, criterion: str = "") -> None:
        super().__init__()
        self.criterion = criterion
        self.dispute: Dispute | None = None

    def compose_body(self) -> ComposeResult:
        yield Static(id="disagreements-title", markup=False)
        with Vertical(id="disagreements-list", classes="pane"):
            yield RowList(draw_row, self.fetch, id="disagreements")
        with Horizontal(id="disagreements-sides"):
            with VerticalScroll(id="disagreements-orders", classes="pane"):
                yield Static(id="disagreements-columns")
            with VerticalScroll(id="disagreements-responses", classes="pane"):
                yield Static(id="disagreements-texts")

    def on_mount(self) -> None:
        self.query_one("#disagreements-list").border_title = "Prompts"
        self.query_one("#disagreements-orders").border_title = "Who says what"
        self.query_one("#disagreements-responses").border_title = "Responses"
        self.load()

    def on_screen_resume(self) -> None:
        """A ranking made meanwhile may have changed everything."""
        if self.criterion:
            self.load()

    async def fetch(self, offset: int, limit: int) -> Sequence[Disagreement]:
        """Nothing: all rows are given at once."""
        return []  # all rows are given at once

    @work(exclusive=True, group="disagreements")
    @told
    async def load(self) -> None:
        """Fit the model where judgements have come, and list the prompts."""
        title = self.query_one("#disagreements-title", Static)
        title.update(Content.styled("fitting the model of annotators …", "$foreground-muted"))
        if not self.criterion:
            known = await self.ask(lambda w: w.labels.criteria())
            self.criterion = known[0] if known else "overall"
        criterion = self.criterion
        await self.ask(lambda w: w.labels.refresh(criterion))
        rows = await self.ask(lambda w: w.labels.disagreements(criterion, limit=SHOWN_PROMPTS))
        count, waiting = await self.ask(lambda w: w.labels.count_disagreements(criterion))
        said = (
            f"{counted(count, 'prompt')} with contradictions, {waiting:,} not adjudicated" if count else NONE
        )
        title.update(Content.assemble((safe_line(criterion, 30), "bold"), (f"  {said}", "$foreground-muted")))
        self.query_one(RowList).show_all(rows, keep_cursor=True)

    @on(RowList.Moved)
    def moved(self, event: RowList.Moved) -> None:
        self.show_prompt(event.row)

    @work(exclusive=True, group="disagreements-prompt")
    @told
    async def show_prompt(self, row: Disagreement | None) -> None:
        """Everybody's ranking of the prompt side by side, and its responses."""
        self.dispute = None
        columns, texts = Content(""), Content("")
        if row is not None:
            prompt, criterion = row.prompt_id, self.criterion
            self.dispute = await self.ask(lambda w: w.labels.side_by_side(prompt, criterion))
            letter = letters(self.dispute)
            question = Content.styled(safe_line(row.text, 400), "bold")
            columns = Content("\n\n").join([question, columns_content(self.dispute, letter)])
            texts = texts_content(self.dispute, letter)
        self.query_one("#disagreements-columns", Static).update(columns)
        self.query_one("#disagreements-texts", Static).update(texts)

    @on(RowList.Chosen)
    def chosen(self) -> None:
        self.action_adjudicate()

    @work(group=DIALOG, exclusive=True)
    @told
    async def action_adjudicate(self) -> None:
        """Choose the order that holds; it is recorded as the annotator's own."""
        dispute = self.dispute
        if dispute is None:
            return
        letter = letters(dispute)
        orders = {f"as {column.name}: {order_text(column, letter)}": column for column in dispute.columns}
        answer = await self.app.push_screen_wait(ChooseScreen("Which order holds?", [*orders, BY_HAND]))
        if answer is None:
            return
        if answer == BY_HAND:
            self.dismiss()
            self.workbench.rank_prompt(dispute.prompt_id)
            return
        places, criterion = dict(orders[answer].places), self.criterion
        await self.ask(
            lambda w: w.labels.adjudicate(dispute.prompt_id, w.settings.annotator, places, criterion)
        )
        self.workbench.refresh_status()
        self.load()

    @work(group=DIALOG, exclusive=True)
    @told
    async def action_criterion(self) -> None:
        """Asks for the criterion by which people disagree."""
        names = await self.ask(lambda w: w.labels.criteria())
        chosen = await self.app.push_screen_wait(ChooseScreen("Judged by", names, self.criterion))
        if chosen is not None and chosen != self.criterion:
            self.criterion = chosen
            self.load()

    def action_back(self) -> None:
        self.dismiss()
