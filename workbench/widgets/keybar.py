"""The last line: what the keys do here, as many as fit, the most useful first."""

from __future__ import annotations

from typing import Any

from textual.binding import Binding
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

DISPLAY = {
    "enter": "⏎",
    "space": "␣",
    "escape": "esc",
    "slash": "/",
    "equals_sign": "=",
    "exclamation_mark": "!",
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


def shown_bindings(screen: Screen[Any]) -> list[tuple[str, str]]:
    """Key and description of the bindings of `screen` that ask to be shown, in order, each action once."""
    seen: dict[str, tuple[str, str]] = {}
    for node, binding, enabled, _ in screen.active_bindings.values():
        if binding.show and enabled and node is not screen.app:
            seen.setdefault(binding.action, (key_name(binding), binding.description))
    return list(seen.values())


class KeyBar(Widget):
    """Never longer than the line: what does not fit is left to F1."""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, screen: Screen[Any]) -> None:
        self.refresh()

    def render(self) -> Content:
        tail = [("F1", "keys"), ("^p", "commands")]
        room = self.size.width - 2 - sum(len(key) + len(text) + 3 for key, text in tail)
        parts: list[tuple[str, str]] = []
        for key, text in shown_bindings(self.screen):
            room -= len(key) + len(text) + 3
            if room < 0:
                break
            parts += [(key, "bold $secondary"), (f" {text}  ", "$foreground-muted")]
        parts += [("".rjust(max(0, room)), "")]
        for key, text in tail:
            parts += [(key, "bold $secondary"), (f" {text}  ", "$foreground-muted")]
        return Content(" ") + Content.assemble(*parts).rstrip()
