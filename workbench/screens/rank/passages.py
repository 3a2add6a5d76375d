"""Comments on passages of one response: mark some words, write on them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static
from textual.widgets.text_area import Selection

from storage.records import Span
from workbench.widgets.safe import safe_line, safe_text
from workbench.widgets.typed import SafeInput, SafeTextArea

COMMENT_CHARACTERS = 500
SHOWN = 4
"""Comments that are listed; of more the last."""


class PassageText(SafeTextArea):
    """The response, to be read and marked; letters that mean something are the screen's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "screen.mark", "mark from here", show=False, priority=True),
        Binding("enter", "screen.write", "write", show=False, priority=True),
        Binding("d,delete", "screen.remove", "remove", show=False, priority=True),
    ]
    marking = False
    """Whether moving marks, as with shift held down: not every terminal tells that."""

    def action_cursor_left(self, select: bool = False) -> None:
        super().action_cursor_left(select or self.marking)

    def action_cursor_right(self, select: bool = False) -> None:
        super().action_cursor_right(select or self.marking)

    def action_cursor_up(self, select: bool = False) -> None:
        super().action_cursor_up(select or self.marking)

    def action_cursor_down(self, select: bool = False) -> None:
        super().action_cursor_down(select or self.marking)

    def action_cursor_word_left(self, select: bool = False) -> None:
        super().action_cursor_word_left(select or self.marking)

    def action_cursor_word_right(self, select: bool = False) -> None:
        super().action_cursor_word_right(select or self.marking)

    def action_cursor_line_start(self, select: bool = False) -> None:
        super().action_cursor_line_start(select or self.marking)

    def action_cursor_line_end(self, select: bool = False) -> None:
        super().action_cursor_line_end(select or self.marking)


class PassageScreen(ModalScreen[list[Span] | None]):
    """One response with what is written on its passages; gives all of it, or None to leave it as it was."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back", priority=True)]
    AUTO_FOCUS = "PassageText"

    def __init__(self, title: str, response_id: str, text: str, spans: Sequence[Span]) -> None:
        super().__init__()
        self.heading, self.response_id, self.stored = title, response_id, text
        self.spans = list(spans)
        self._about = (0, 0)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog", id="passages") as box:
            box.border_title = Content(safe_line(self.heading))
            box.border_subtitle = "space mark · ⏎ write on it · d remove · esc keep"
            yield PassageText(self.stored, id="passage", read_only=True, show_line_numbers=False)
            yield Static(id="passage-comments")
            yield SafeInput(id="passage-comment", max_length=COMMENT_CHARACTERS)

    def on_mount(self) -> None:
        self.query_one("#passage-comment").display = False
        self._show()

    # -- marking ------------------------------

    @property
    def area(self) -> PassageText:
        """The text."""
        return self.query_one(PassageText)

    def action_mark(self) -> None:
        """The passage begins here and goes to where the cursor is moved; again, there is none."""
        area = self.area
        area.marking = not area.marking
        area.selection = Selection.cursor(area.cursor_location)

    def _marked(self) -> tuple[int, int]:
        """Characters of the stored text at which the marked passage begins and ends, else the word."""
        area = self.area
        begins, ends = sorted(self._index(place) for place in (area.selection.start, area.selection.end))
        if begins == ends:
            words = ((word.start(), word.end()) for word in re.finditer(r"\S+", self.stored))
            begins, ends = next((word for word in words if word[0] <= begins <= word[1]), (begins, ends))
        return begins, ends

    def _index(self, location: tuple[int, int]) -> int:
        """Characters of the stored text before a place of the screen's."""
        row, column = location
        shown = self.area.text.split("\n")
        return stored_index(self.stored, sum(len(line) + 1 for line in shown[:row]) + column)

    # -- writing ------------------------------

    def action_write(self) -> None:
        """Asks what to say of the passage."""
        begins, ends = self._marked()
        field = self.query_one("#passage-comment", Input)
        if self.stored[begins:ends].strip():
            field.placeholder = f"on “{safe_line(self.stored[begins:ends], 40)}” …"
            field.value = next((s.comment for s in self.spans if (s.begins, s.ends) == (begins, ends)), "")
            self._about = begins, ends
            field.display = True
            field.focus()

    @on(Input.Submitted)
    def written(self, event: Input.Submitted) -> None:
        """One comment a passage; an empty one takes it away."""
        begins, ends = self._about
        self.spans = [span for span in self.spans if (span.begins, span.ends) != (begins, ends)]
        if comment := safe_line(event.value, COMMENT_CHARACTERS):
            self.spans.append(Span(self.response_id, begins, ends, comment))
        self._back_to_the_text()

    def action_remove(self) -> None:
        """Takes away what is written where the cursor is."""
        at = self._index(self.area.cursor_location)
        self.spans = [span for span in self.spans if not span.begins <= at <= span.ends]
        self._show()

    def action_leave(self) -> None:
        """From a comment back to the text; from there back to ranking, with what is written."""
        if self.query_one("#passage-comment").display:
            self._back_to_the_text()
        else:
            self.dismiss(self.spans)

    def _back_to_the_text(self) -> None:
        self.query_one("#passage-comment").display = False
        area = self.area
        area.marking = False
        area.selection = Selection.cursor(area.cursor_location)
        area.focus()
        self._show()

    def _show(self) -> None:
        """The comments, the last ones where they are many."""
        lines = [
            Content.assemble(
                (f"“{safe_line(self.stored[span.begins : span.ends], 24)}” ", "$foreground-muted"),
                safe_line(span.comment, 80),
            )
            for span in self.spans[-SHOWN:]
        ]
        nothing = Content.styled("Nothing is written on it yet.", "$foreground-muted")
        self.query_one("#passage-comments", Static).update(Content("\n").join(lines) if lines else nothing)


def stored_index(text: str, shown: int) -> int:
    """Characters of a stored text before the `shown`th of it as a terminal may show it.

    Control characters are not shown, so that the two differ where a text has some.
    """
    if safe_text(text) == text:
        return min(shown, len(text))
    return bisect_left(range(len(text)), shown, key=lambda end: len(safe_text(text[:end])))
