"""The last line: what the keys do here, as many as fit, the most useful first."""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len
from textual.binding import Binding
from textual.content import Content
from textual.events import Click, Key
from textual.keys import key_to_character
from textual.screen import Screen
from textual.widget import Widget

GAP = 2
"""Cells between two hints."""
DISPLAY = {
    "enter": "⏎",
    "space": "␣",
    "escape": "esc",
    "slash": "/",
    "equals_sign": "=",
    "exclamation_mark": "!",
    "quotation_mark": '"',
    "full_stop": ".",
    "comma": ",",
    "plus": "+",
    "backspace": "⌫",
    "question_mark": "?",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}


def key_name(binding: Binding) -> str:
    """How a key is written in hints: `⏎`, `F3`, `ctrl+p`."""
    if binding.key_display:
        return binding.key_display
    key = binding.key
    if key[:1] == "f" and key[1:].isdigit():
        return key.upper()
    return DISPLAY.get(key, key)


def shown_bindings(screen: Screen[Any]) -> list[tuple[str, str, str]]:
    """Key, description and the key's own name of the bindings of `screen` that ask to be shown, in order.

    Each action comes once.
    """
    seen: dict[str, tuple[str, str, str]] = {}
    for node, binding, enabled, _ in screen.active_bindings.values():
        if binding.show and enabled and node is not screen.app:
            seen.setdefault(binding.action, (key_name(binding), binding.description, binding.key))
    return list(seen.values())


class KeyBar(Widget):
    """Never longer than the line: what does not fit is left to F1."""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen[Any]) -> None:
        self.refresh()

    def on_click(self, event: Click) -> None:
        """A click on a hint is its key."""
        left = 1
        for key, text, name in self._line():
            right = left + cell_len(f"{key} {text}")
            if name and left <= event.x < right:
                self.app.post_message(Key(name, key_to_character(name)).set_sender(self.app))
            left = right + GAP

    def _line(self) -> list[tuple[str, str, str]]:
        """Hint, text and name of each key that fits; an empty hint fills the line up."""
        tail = [("F1", "keys", "f1"), ("ctrl+p", "commands", "ctrl+p")]
        room = self.size.width - 2 - sum(cell_len(f"{key} {text}") + GAP for key, text, _ in tail)
        shown = []
        for hint in shown_bindings(self.screen):
            room -= cell_len(f"{hint[0]} {hint[1]}") + GAP
            if room < 0:
                room += cell_len(f"{hint[0]} {hint[1]}") + GAP
                break
            shown.append(hint)
        return [*shown, ("", " " * max(0, room - 1 - GAP), ""), *tail] if room > GAP else [*shown, *tail]

    def render(self) -> Content:
        parts: list[tuple[str, str]] = []
        for key, text, _ in self._line():
            parts += [(key, "bold $secondary"), (f" {text}{' ' * GAP}", "$foreground-muted")]
        return Content(" ") + Content.assemble(*parts).rstrip()
