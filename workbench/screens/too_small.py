"""What a terminal below 80 × 24 gets: a sentence, until it has grown."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.content import Content
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Static


class TooSmallScreen(ModalScreen[None]):
    """Says how large the terminal is and must be; nothing behind it is lost."""

    CSS_PATH = "too_small.tcss"

    def compose(self) -> ComposeResult:
        yield Static(id="too-small")

    def on_resize(self, event: Resize) -> None:
        width, height = event.size
        here = f"this terminal has {width} × {height}. Enlarge it to go on."
        text = f"The workbench needs 80 × 24 characters; {here}"
        self.query_one(Static).update(Content(text))
