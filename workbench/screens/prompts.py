"""Home: the list of prompts, and the responses to the one under the cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from engine.wording import counted
from workbench.messages import Status
from workbench.screens.base import WorkbenchScreen, told
from workbench.widgets.row_list import PAGE, RowList
from workbench.widgets.safe import safe_content, safe_line

if TYPE_CHECKING:
    from workbench.services.library import PromptRow, ResponseRow

COUNT_CELLS = 7
SHOWN_CHARACTERS = 6_000  # of one response here; the rank screen and zoom show all of it
SEARCH_PAUSE = 0.12
DETAIL_PAUSE = 0.04
RELOAD_PAUSE = 1.0
WIDE = 120

NOTHING_YET = """No prompts yet.

[b]i[/b]  import a file: prompts, ranked responses or pairs
   (JSON Lines, CSV or Parquet)

Then [b]g[/b] generates responses and [b]r[/b] ranks them."""


def draw_prompt(row: PromptRow, width: int) -> Content:
    """One line: the prompt, how many responses, how many judgements."""
    room = max(8, width - 2 * COUNT_CELLS)
    text = Content(safe_line(row.text)).truncate(room - 1, ellipsis=True, pad=True)
    responses = str(row.responses) if row.responses else "–"
    judged = str(row.judgements) if row.judgements else "–"
    return Content.assemble(
        text,
        (responses.rjust(COUNT_CELLS), "$foreground-muted" if not row.responses else ""),
        (judged.rjust(COUNT_CELLS), "$foreground-muted" if not row.judgements else "$secondary"),
    )


def response_heading(number: int, row: ResponseRow) -> Content:
    """Policy, tokens, mean rank and scores of a response on one line."""
    facts = [counted(row.tokens, "token")] if row.tokens else []
    if row.finish_reason == "length":
        facts.append("cut")
    if row.mean_rank is not None:
        facts.append(f"mean rank {row.mean_rank:.1f}")
    facts += [f"{safe_line(name, 24)} {score:+.2f}" for name, score in row.scores.items()]
    return Content.assemble(
        (f"{number}  ", "$foreground-muted"),
        (safe_line(row.policy, 32), "bold $secondary"),
        ("  " + " · ".join(facts), "$foreground-muted"),
    )


def detail_content(prompt: str, responses: Sequence[ResponseRow]) -> Content:
    """The prompt and everything that was answered to it."""
    parts: list[Content | str | tuple[str, str]] = [safe_content(prompt, SHOWN_CHARACTERS).stylize("bold")]
    if not responses:
        parts.append(("\n\nNo responses yet: g generates some.", "$foreground-muted"))
    for number, row in enumerate(responses, 1):
        parts += ["\n\n", response_heading(number, row), "\n", safe_content(row.text, SHOWN_CHARACTERS)]
    return Content.assemble(*parts)


def transcript(messages: Sequence[dict[str, str]]) -> str:
    """A chat as a person reads it; a single user turn without its role."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in messages)


class PromptsScreen(WorkbenchScreen):
    """The prompts of the store, searchable, with the responses to the one under the cursor."""

    TITLE_TEXT = "Prompts"
    LOOP = "Import prompts, generate responses to them, see what came of each."
    CSS_PATH = "prompts.tcss"
    AUTO_FOCUS = "#prompts"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "read", "read", tooltip="Read the responses"),
        Binding("r", "rank", "rank", tooltip="Rank the responses to this prompt"),
        Binding("g", "generate", "generate", tooltip="Generate responses with a model"),
        Binding("i", "import", "import", tooltip="Import a file"),
        Binding("slash", "search", "search", tooltip="Search the prompts"),
        Binding("escape", "back", "Back to the list, to all prompts", show=False),
    ]

    search = ""
    _counts: tuple[int, int, int] | None = None
    _reload_waits = False
    _stale = False
    _shown: PromptRow | None = None

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="body"):
            with Vertical(id="list", classes="pane"):
                yield Static(id="columns", classes="quiet")
                yield RowList(draw_prompt, self.fetch, id="prompts")
                yield Static(id="nothing", classes="empty")
            with VerticalScroll(id="detail", classes="pane"):
                yield Static(id="detail-text")

    def on_mount(self) -> None:
        self.query_one("#list").border_title = "Prompts"
        self.query_one("#detail").border_title = "Responses"
        self.watch(self.workbench, "status", self.store_changed, init=False)
        self.load(first=True)

    def on_resize(self) -> None:
        self.set_class(self.app.size.width >= WIDE, "-wide")
        self.call_after_refresh(self._show_columns)

    def on_screen_resume(self) -> None:
        if self.is_mounted and (self._stale or self.query_one(RowList).count):
            self._stale = False
            self.load(keep_cursor=True)

    def store_changed(self, status: Status) -> None:
        """Jobs and judgements change the counts: show them, but not more often than one can read."""
        counts = (status.prompts, status.responses, status.judgements)
        known, self._counts = self._counts, counts
        if known in (None, counts):
            return
        if not self.is_current:  # an import below its own window, for instance
            self._stale = True
        elif not self._reload_waits:
            self._reload_waits = True
            self.set_timer(RELOAD_PAUSE, self.reload)

    def reload(self) -> None:
        """Reads the list anew; the cursor stays where it is."""
        self._reload_waits = False
        self.load(keep_cursor=True)

    # -- the list ------------------------------

    @work(exclusive=True, group="load")
    @told
    async def load(self, *, first: bool = False, keep_cursor: bool = False) -> None:
        """Show the first page at once, then learn how many there are."""
        search = self.search
        page = await self.ask(lambda workspace: workspace.library.prompts(search, limit=PAGE))
        rows = self.query_one(RowList)
        rows.show(max(len(page), rows.count if keep_cursor else 0), page, keep_cursor=keep_cursor)
        self._show_emptiness(empty=not page)
        if first:
            self.call_after_refresh(self.workbench.first_painted)
        count = len(page)
        if count == PAGE:
            count = await self.ask(lambda workspace: workspace.library.count(search))
        rows.set_count(count)
        self.call_after_refresh(self._show_columns)  # more rows than fit bring a scroll bar
        title = f"{count:,} with “{safe_line(search, 20)}”" if search else f"Prompts · {count:,}"
        self.query_one("#list").border_title = Content(title)

    async def fetch(self, offset: int, limit: int) -> Sequence[PromptRow]:
        """A page of the prompts that the search finds: behind the page before it, where that is known."""
        search, before = self.search, self.query_one(RowList).known(offset - 1)
        after, skipped = (before.prompt_id, 0) if before is not None else (None, offset)
        return await self.ask(
            lambda workspace: workspace.library.prompts(search, limit=limit, offset=skipped, after=after)
        )

    def _show_columns(self) -> None:
        width = self.query_one(RowList).scrollable_content_region.width
        left = "prompt".ljust(max(0, width - 2 * COUNT_CELLS))
        self.query_one("#columns", Static).update(Content(left + "answers".rjust(7) + "judged".rjust(7)))

    def _show_emptiness(self, *, empty: bool) -> None:
        self.set_class(empty, "-empty")
        if empty and self.search:
            message = Content(f"No prompt contains “{safe_line(self.search, 40)}”.\n\nesc shows all of them.")
        else:
            message = Content.from_markup(NOTHING_YET)
        self.query_one("#nothing", Static).update(message)
        if empty:
            self._shown = None
            self.query_one("#detail-text", Static).update("")
        self.call_after_refresh(self._show_columns)  # a list that was hidden has no width yet

    # -- the detail ------------------------------

    @on(RowList.Moved)
    def moved(self, event: RowList.Moved) -> None:
        """Shows the prompt under the cursor with its responses."""
        if event.row is not None and event.row != self._shown:
            self.show_detail(event.row)

    @work(exclusive=True, group="detail")
    @told
    async def show_detail(self, row: PromptRow) -> None:
        """Prompt and responses of `row`; a cursor that runs on replaces this before it asks the store."""
        await asyncio.sleep(DETAIL_PAUSE)
        prompt_id = row.prompt_id
        messages, responses = await self.ask(
            lambda workspace: (
                workspace.library.messages(prompt_id),
                workspace.library.responses(prompt_id),
            )
        )
        self.query_one("#detail-text", Static).update(detail_content(transcript(messages), responses))
        detail = self.query_one("#detail", VerticalScroll)
        if self._shown is None or self._shown.prompt_id != prompt_id:
            detail.scroll_home(animate=False)
        self._shown = row
        count = len(responses)
        detail.border_title = Content(counted(count, "response"))
        detail.border_subtitle = Content(safe_line(f"{row.source or ''}  {prompt_id}"))

    # -- keys ------------------------------

    @property
    def current(self) -> PromptRow | None:
        """The row under the cursor."""
        row: PromptRow | None = self.query_one(RowList).current
        return row

    def action_read(self) -> None:
        """Goes to the responses, where keys scroll; on a narrow terminal they take the list's place."""
        if self.current is not None:
            self.add_class("-reading")
            self.query_one("#detail").focus()

    @on(RowList.Chosen)
    def chosen(self) -> None:
        self.action_read()

    def action_rank(self) -> None:
        """Goes to the rank screen with this prompt; says so where there is nothing to rank."""
        row = self.current
        if row is None:
            return
        if row.responses < 2:
            self.workbench.tell("This prompt has fewer than two responses: press g to generate some.")
            return
        self.workbench.rank_prompt(row.prompt_id)

    def action_generate(self) -> None:
        self.workbench.action_launch("generate")

    def action_import(self) -> None:
        self.workbench.action_import()

    async def action_search(self) -> None:
        """Show the search field; it is made when first asked for, so that the first frame need not wait."""
        if not self.query("#search"):
            from workbench.widgets.typed import SafeInput

            await self.mount(
                SafeInput(placeholder="Search prompts", id="search", compact=True), before="#body"
            )
        self.add_class("-searching")
        self.query_one("#search", Input).focus()

    def action_back(self) -> None:
        """From reading to the list, from a search to all prompts."""
        if self.has_class("-reading"):
            self.remove_class("-reading")
        elif self.has_class("-searching"):
            self.remove_class("-searching")
            self.query_one("#search", Input).value = ""
        self.query_one(RowList).focus()

    @on(Input.Changed, "#search")
    async def searched(self, event: Input.Changed) -> None:
        self.find(event.value)

    @work(exclusive=True, group="find")
    @told
    async def find(self, search: str) -> None:
        """Searches when nothing more is typed for a moment."""
        await asyncio.sleep(SEARCH_PAUSE)
        if search != self.search:
            self.search = search
            self.load()

    @on(Input.Submitted, "#search")
    def search_done(self) -> None:
        """Back into the list, whose rows are those found."""
        self.query_one(RowList).focus()
