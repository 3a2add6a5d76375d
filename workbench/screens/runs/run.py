"""One run on the whole screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from workbench.screens.runs.actions import RunActions
from workbench.widgets.run_pane import RunPane


class RunScreen(RunActions):
    """The pane of the runs screen, alone; escape goes back."""

    TITLE_TEXT = "Run"
    LOOP = "One run: its charts, sampled responses, settings and messages."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Back"),
        *RunActions.RUN_BINDINGS,
        Binding("down", "response(1)", "Next response", show=False),
        Binding("up", "response(-1)", "Response before", show=False),
        Binding("space", "scroll(8)", "Scroll", show=False),
    ]

    def __init__(self, run_id: str, marked: Sequence[str] = ()) -> None:
        """`marked` are runs to draw over it."""
        super().__init__()
        self._run_id, self._marked = run_id, tuple(marked)

    @property
    def run_id(self) -> str | None:
        return self._run_id

    @property
    def marked(self) -> tuple[str, ...]:
        return self._marked

    def compose_body(self) -> ComposeResult:
        yield RunPane(id="run-pane", classes="pane")
