"""Small windows over the rank screen: why not, a note, one text alone, two side by side, the session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Markdown, OptionList, Static

from workbench.services.ranking.draft import LETTERS
from workbench.services.text_diff import Piece, word_diff
from workbench.widgets.safe import safe_content, safe_line, safe_text
from workbench.widgets.typed import SafeInput, SafeTextArea

if TYPE_CHECKING:
    from workbench.services.ranking.judging import JudgingSession

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
NOTE_CHARACTERS = 2000


class SkipScreen(ModalScreen[str | None]):
    """Ask why; gives the reason, or None when the person thinks better of it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Do not skip")]
    AUTO_FOCUS = "OptionList"

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Not rankable because …"
            box.border_subtitle = "⏎ skip · tab other reason · esc back"
            yield OptionList(*REASONS)
            yield SafeInput(placeholder="or in your own words", max_length=500)

    @on(OptionList.OptionSelected)
    def chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(REASONS[event.option_index])

    @on(Input.Submitted)
    def written(self, event: Input.Submitted) -> None:
        """A reason in the annotator's own words."""
        if reason := safe_line(event.value, 500):
            self.dismiss(reason)


class NoteScreen(ModalScreen[str | None]):
    """Ask for a note; gives the text (empty removes it), or None to leave it as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Leave the note", priority=True),
        Binding("enter", "keep", "Keep it", priority=True),
        Binding("ctrl+j", "new_line", "A new line", priority=True),
    ]
    AUTO_FOCUS = "TextArea"

    def __init__(self, note: str) -> None:
        super().__init__()
        self.note = note

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Note on this judgement"
            box.border_subtitle = "⏎ keep · ctrl+j new line · esc back"
            yield SafeTextArea(self.note, id="note", show_line_numbers=False)

    def on_mount(self) -> None:
        area = self.query_one(SafeTextArea)
        area.move_cursor(area.document.end)

    def action_new_line(self) -> None:
        self.query_one(SafeTextArea).insert("\n")

    def action_keep(self) -> None:
        """Keeps the note, without control characters and at most as long as a note may be."""
        self.dismiss(safe_text(self.query_one(SafeTextArea).text).strip()[:NOTE_CHARACTERS])


class ZoomScreen(ModalScreen[None]):
    """One text alone, its Markdown laid out; m shows it as it is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,z,w,q,question_mark", "dismiss", "back"),
        Binding("m", "plain", "plain text / Markdown"),
        Binding("j,down", "scroll(1)", "down", show=False),
        Binding("k,up", "scroll(-1)", "up", show=False),
    ]
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, title: str, text: str, *, markdown: bool = True) -> None:
        super().__init__()
        self.heading, self.text = title, text
        self.markdown = markdown and len(text.strip()) > 0 and len(text) <= MARKDOWN_CHARACTERS

    def compose(self) -> ComposeResult:
        plain = safe_content(self.text, PLAIN_CHARACTERS) if self.text.strip() else Content("(empty)")
        with VerticalScroll(id="zoom", classes="pane") as pane:
            pane.border_title = Content(safe_line(self.heading))
            pane.border_subtitle = "m plain/Markdown · esc back" if self.markdown else "esc back"
            yield Static(plain, id="zoom-plain")
            if self.markdown:
                yield Markdown(safe_text(self.text), open_links=False, id="zoom-markdown")

    def on_mount(self) -> None:
        self.set_class(not self.markdown, "-plain")

    def action_plain(self) -> None:
        """Between Markdown and the text as it was written."""
        if self.markdown:
            self.toggle_class("-plain")

    def action_scroll(self, by: int) -> None:
        self.query_one("#zoom", VerticalScroll).scroll_relative(y=by, animate=False)


def marked(pieces: Sequence[Piece]) -> Content:
    """A text in which the words that the other does not have stand out, without colours too."""
    own = "bold underline $accent"
    parts = [(safe_content(piece.text), piece.own) for piece in pieces]
    return Content.assemble(*(part.stylize(own) if alone else part for part, alone in parts))


class DifferenceScreen(ModalScreen[None]):
    """Two responses side by side with the words marked that only one of them has; letters change them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,x,q", "dismiss", "back"),
        *(
            Binding(letter.lower(), f"choose({place})", f"Set {letter} beside the one before", show=False)
            for place, letter in enumerate(LETTERS)
        ),
        Binding("j,down", "scroll(1)", "down", show=False),
        Binding("k,up", "scroll(-1)", "up", show=False),
    ]
    AUTO_FOCUS = ""

    def __init__(self, texts: Sequence[str], first: int = 0, second: int = 1) -> None:
        super().__init__()
        self.texts, self.shown = list(texts), (first, second)

    def compose(self) -> ComposeResult:
        with Horizontal(id="differences"):
            for side in ("left", "right"):
                with VerticalScroll(id=side, classes="pane", can_focus=False):
                    yield Static(id=f"{side}-text")

    def on_mount(self) -> None:
        self._show()

    def _show(self) -> None:
        first, second = self.shown
        difference = word_diff(self.texts[first], self.texts[second])
        for side, place, pieces in (("left", first, difference.old), ("right", second, difference.new)):
            pane = self.query_one(f"#{side}", VerticalScroll)
            pane.border_title = Content(f" {LETTERS[place]} ")
            pane.border_subtitle = f"{difference.likeness:.0%} of the words in common"
            self.query_one(f"#{side}-text", Static).update(marked(pieces) if pieces else Content("(empty)"))
        letters = f"{LETTERS[0].lower()} … {LETTERS[len(self.texts) - 1].lower()}"
        pane.border_subtitle = f"{letters} another beside it · esc back"

    def action_choose(self, place: int) -> None:
        """The chosen response comes to the right, what stood there to the left."""
        if place < len(self.texts) and place != self.shown[1]:
            self.shown = (self.shown[1], place)
            self._show()

    def action_scroll(self, by: int) -> None:
        """Scrolls both texts alike."""
        for pane in self.query(VerticalScroll):
            pane.scroll_relative(y=by, animate=False)


def session_content(session: JudgingSession, *, may_show: bool) -> Content:
    """What the session came to, and how the policies did where that may be known."""
    minutes = session.seconds / 60
    parts: list[Any] = [
        (f"{session.judged:,}", "bold"), f" judged, {session.skipped:,} not rankable, ",
        (f"{minutes:.0f} min", "bold"), " of looking, pauses left out",
    ]  # fmt: skip
    if session.judged and minutes:
        parts.append(f": {session.seconds / session.judged:.0f} s each")
    if session.policies:
        parts.append("\n\nShare of pairs with other policies that each has won, a tie one half:\n")
        for row in session.policies:
            parts += [f"\n{row.share:6.0%}  ", (safe_line(row.name, 40), "bold"), f"  of {row.pairs:,}"]
    elif may_show and session.judged:
        parts += [
            "\n\n",
            ("n", "bold $secondary"),
            " shows how the policies did and ends the session: what was judged",
        ]
        parts.append(" in it can then no longer be taken back.")
    return Content.assemble(*parts)


class SessionScreen(ModalScreen[bool]):
    """The session so far; gives True when the names are asked for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "names", "Show the names, end the session"),
        Binding("escape,q,E", "dismiss(False)", "back"),
    ]

    def __init__(self, session: JudgingSession, *, may_show: bool) -> None:
        super().__init__()
        self.session, self.may_show = session, may_show

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "This session"
            box.border_subtitle = "esc back"
            yield Static(session_content(self.session, may_show=self.may_show))

    def action_names(self) -> None:
        """Shows which policies stood behind the letters, once something is judged."""
        if self.may_show and self.session.judged and not self.session.policies:
            self.dismiss(True)
