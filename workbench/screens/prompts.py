"""Home: the list of prompts, and the responses to the one under the cursor."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from workbench.screens.base import WorkbenchScreen


class PromptsScreen(WorkbenchScreen):
    """The prompts of the store."""

    TITLE_TEXT = "Prompts"

    def compose_body(self) -> ComposeResult:
        yield Static("…", classes="empty")
