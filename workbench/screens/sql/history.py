"""What the SQL screen puts on top of itself: the history of queries, and one value whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from engine.wording import counted
from workbench.keyboard import DIALOG
from workbench.screens.base import attempt
from workbench.screens.sql.text import history_line, searched
from workbench.services.sql.gallery import GalleryQuery
from workbench.widgets.confirm import ConfirmScreen
from workbench.widgets.safe import safe_content, safe_line, safe_text
from workbench.widgets.typed import SafeInput

if TYPE_CHECKING:
    from storage.records import SavedQuery
    from workbench.services.workspace import Workspace


VALUE_LIMIT = 200_000


class HistoryScreen(ModalScreen["SavedQuery | GalleryQuery | None"]):
    """Saved queries, the gallery's questions, then what was run, newest first; typing narrows them.

    Answers the one chosen.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel"),
        Binding("down", "focus_list", "List", show=False),
        Binding("delete,ctrl+d", "forget", "Forget a saved query", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    HistoryScreen OptionList { height: 1fr; }
    HistoryScreen #says { height: auto; color: $text-error; }
    HistoryScreen OptionList > .option-list--option-highlighted { background: $primary 25%; color: $text; }
    """

    def __init__(
        self, saved: Sequence[SavedQuery], history: Sequence[SavedQuery], gallery: Sequence[GalleryQuery] = ()
    ) -> None:
        super().__init__()
        queries: list[SavedQuery | GalleryQuery] = [*saved, *gallery]
        queries += [item for item in history if not item.name]
        seen: dict[tuple[str, str], SavedQuery | GalleryQuery] = {}
        for query in queries:
            seen.setdefault((query.name or "", query.sql), query)
        self._queries = list(seen.values())
        self._shown = self._queries

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content("Saved queries, questions and history")
            dialog.border_subtitle = Content(
                "type to search · ↓ ⏎ takes · ctrl+d forgets a saved one · esc leaves"
            )
            yield SafeInput(placeholder="search")
            yield OptionList(markup=False)
            yield Static(id="says", markup=False)

    def on_mount(self) -> None:
        self._fill("")

    @on(Input.Changed)
    def narrow(self, event: Input.Changed) -> None:
        """Shows the queries that hold what is typed."""
        self._fill(event.value)

    def _fill(self, search: str) -> None:
        wanted = search.lower()
        self._shown = [query for query in self._queries if wanted in searched(query)]
        listing = self.query_one(OptionList)
        listing.set_options(
            [Option(history_line(query)) for query in self._shown]
            or [Option(Content.styled("No query yet.", "$foreground-muted"), disabled=True)]
        )
        if self._shown:
            listing.highlighted = 0

    @on(Input.Submitted)
    def take_first(self) -> None:
        """Takes the highlighted query, without leaving the search."""
        listing = self.query_one(OptionList)
        if self._shown and listing.highlighted is not None:
            self.dismiss(self._shown[listing.highlighted])

    @on(OptionList.OptionSelected)
    def take(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._shown[event.option_index])

    @work(group=DIALOG)
    async def action_forget(self) -> None:
        """Forget the saved query under the cursor, after a question."""
        place = self.query_one(OptionList).highlighted
        chosen = self._shown[place] if self._shown and place is not None else None
        if chosen is None or isinstance(chosen, GalleryQuery) or not chosen.name:
            return
        name = chosen.name
        if not await self.app.push_screen_wait(ConfirmScreen(f"Forget the saved query “{name}”?", "Forget")):
            return

        def forgotten(workspace: Workspace) -> bool:
            workspace.sql.forget(name)
            return True

        if await attempt(self, "#says", forgotten):
            self._queries.remove(chosen)
            self._fill(self.query_one(Input).value)

    def action_focus_list(self) -> None:
        self.query_one(OptionList).focus()


class ValueScreen(ModalScreen[None]):
    """One value of a result, whole."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss(None)", "Close"),
        Binding("c,ctrl+c", "copy", "Copy"),
    ]
    DEFAULT_CSS = """
    ValueScreen VerticalScroll { height: auto; max-height: 80vh; }
    ValueScreen Static { height: auto; }
    """

    def __init__(self, column: str, value: str) -> None:
        super().__init__()
        self._column, self._value = column, value

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(safe_line(self._column, 60) or "value")
            dialog.border_subtitle = Content(
                f"{counted(len(self._value), 'character')} · c copies · esc closes"
            )
            with VerticalScroll():
                yield Static(safe_content(self._value, VALUE_LIMIT), markup=False)

    def action_copy(self) -> None:
        """Copy the value, whole and without control characters."""
        self.app.copy_to_clipboard(safe_text(self._value))
        self.query_one(".dialog").border_subtitle = Content("copied · esc closes")
