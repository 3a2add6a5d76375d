"""What an application draws, as text; and whether a terminal could obey any of it."""

from __future__ import annotations

import unicodedata
from typing import Any

from textual.app import App


def drawn(app: App[Any]) -> str:
    """Every cell of the screen, line by line."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


def assert_harmless(text: str) -> None:
    """No control, bidi control, line separator or lone surrogate is drawn."""
    for character in text.replace("\n", ""):
        kind = unicodedata.category(character)
        assert kind not in ("Cc", "Cs", "Cf", "Zl", "Zp"), f"U+{ord(character):04X} is drawn"
    text.encode()
