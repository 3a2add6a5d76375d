"""The editor of the SQL screen: completes words, and marks the place that an error is about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets.text_area import Edit, EditResult

from workbench.services.sql.completing import Completer
from workbench.widgets.typed import SafeTextArea

FAULT = "bold white on red"
TOKEN = re.compile(r"\w+|\S")


def _without(bindings: Iterable[BindingType], *keys: str) -> Iterator[Binding]:
    """Bindings without some keys; one that has no other goes."""
    for binding in bindings:
        if isinstance(binding, Binding):
            left = [key for key in binding.key.split(",") if key not in keys]
            if left:
                yield replace(binding, key=",".join(left))


class SqlEditor(SafeTextArea, inherit_bindings=False):
    """What the cursor's word would become stands behind it, dim; → takes it.

    Of Textual's keys ctrl+k is left out, which closes the tab here, and ctrl+e, which completes.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *_without(SafeTextArea.BINDINGS, "ctrl+k", "ctrl+e"),
        Binding("ctrl+e", "complete", "Complete", show=False),
    ]

    completer: Completer = Completer()
    fault: tuple[int, int, int] | None = None
    """Line, first and last column of what an error is about, from 0; the last is not part of it."""

    def update_suggestion(self) -> None:
        """Offer the rest of the word, at the end of a word alone."""
        line, column = self.cursor_location
        after = self.document.get_line(line)[column : column + 1]
        if after.isalnum() or after == "_" or self.selected_text:
            self.suggestion = ""
            return
        before = self.get_text_range((0, 0), (line, column))
        self.suggestion = self.completer.rest_of(before, self.text)

    def action_complete(self) -> None:
        """Take what is offered."""
        if self.suggestion:
            self.insert(self.suggestion)

    def mark(self, line: int, column: int) -> None:
        """Mark the word at a place, and put the cursor before it."""
        text = self.document.get_line(line)
        token = TOKEN.match(text, column)
        self.fault = (line, column, token.end() if token else column + 1)
        self.move_cursor((line, min(column, len(text))))
        self._redraw()

    def unmark(self) -> None:
        """Takes the mark off the place of the last error."""
        if self.fault is not None:
            self.fault = None
            self._redraw()

    def edit(self, edit: Edit) -> EditResult:
        self.unmark()
        return super().edit(edit)

    def get_line(self, line_index: int) -> Text:
        """As Textual's, with the place of an error marked."""
        line = super().get_line(line_index)
        if self.fault is not None and self.fault[0] == line_index:
            line.stylize(FAULT, self.fault[1], self.fault[2])
        return line

    def _redraw(self) -> None:
        self._line_cache.clear()
        self.refresh()
