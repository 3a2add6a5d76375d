"""Small windows over the rank screen: why skip, a note, one response alone."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Markdown, OptionList, Static

from workbench.widgets.safe import safe_content, safe_line, safe_text
from workbench.widgets.typed import SafeInput

REASONS = (
    "all responses are bad",
    "cannot tell them apart",
    "I do not know enough to judge",
    "the prompt makes no sense",
    "harmful or private text",
)
MARKDOWN_CHARACTERS = 20_000
"""Longer responses are shown plain: laying out Markdown takes time in proportion."""
PLAIN_CHARACTERS = 200_000


class SkipScreen(ModalScreen[str | None]):
    """Ask why; gives the reason, or None when the person thinks better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Do not skip")]
    AUTO_FOCUS = "OptionList"

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Skip this prompt because …"
            box.border_subtitle = "⏎ skip · tab other reason · esc back"
            yield OptionList(*REASONS)
            yield SafeInput(placeholder="or in your own words", max_length=500)

    @on(OptionList.OptionSelected)
    def chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(REASONS[event.option_index])

    @on(Input.Submitted)
    def written(self, event: Input.Submitted) -> None:
        if reason := safe_line(event.value, 500):
            self.dismiss(reason)


class NoteScreen(ModalScreen[str | None]):
    """Ask for a note; gives the text (empty removes it), or None to leave it as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Leave the note")]

    def __init__(self, note: str) -> None:
        super().__init__()
        self.note = note

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Note on this judgement"
            box.border_subtitle = "⏎ keep · esc back"
            yield SafeInput(value=self.note, placeholder="what is worth remembering", max_length=2000)

    @on(Input.Submitted)
    def written(self, event: Input.Submitted) -> None:
        self.dismiss(safe_line(event.value, 2000))


class ZoomScreen(ModalScreen[None]):
    """One response alone, its Markdown laid out; m shows the text as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,z,q", "dismiss", "back"),
        Binding("m", "plain", "plain text / Markdown"),
        Binding("j,down", "scroll(1)", "down", show=False),
        Binding("k,up", "scroll(-1)", "up", show=False),
    ]
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self.heading, self.text = title, text
        self.markdown = len(text) <= MARKDOWN_CHARACTERS

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="zoom", classes="pane") as pane:
            pane.border_title = Content(safe_line(self.heading))
            pane.border_subtitle = "m plain/Markdown · esc back"
            yield Static(safe_content(self.text, PLAIN_CHARACTERS), id="zoom-plain")
            if self.markdown:
                yield Markdown(safe_text(self.text), open_links=False, id="zoom-markdown")

    def on_mount(self) -> None:
        self.set_class(not self.markdown, "-plain")

    def action_plain(self) -> None:
        if self.markdown:
            self.toggle_class("-plain")

    def action_scroll(self, by: int) -> None:
        self.query_one("#zoom", VerticalScroll).scroll_relative(y=by, animate=False)
