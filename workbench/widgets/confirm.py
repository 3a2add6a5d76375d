"""A question with yes or no, and a question with one line as its answer."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from workbench.widgets.safe import safe_line
from workbench.widgets.typed import SafeInput

CONFIRM_CSS = """
ConfirmScreen Static, AskScreen Static { height: auto; }
ConfirmScreen .hint, AskScreen .hint { margin-top: 1; }
AskScreen Input { margin-top: 1; }
"""


class ConfirmScreen(ModalScreen[bool]):
    """Answers True for y or enter, False for n or escape."""

    DEFAULT_CSS = CONFIRM_CSS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer(True)", "Yes"),
        Binding("n,escape", "answer(False)", "No"),
    ]

    def __init__(self, question: str, verb: str) -> None:
        super().__init__()
        self._question, self._verb = safe_line(question, 600), safe_line(verb, 40)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._question), markup=False)
            yield Static(
                Content.assemble(
                    ("y", "bold $secondary"), (f" {self._verb}   ", ""), ("n", "bold $secondary"), " Leave it"
                ),
                classes="hint",
                markup=False,
            )

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class AskScreen(ModalScreen[str | None]):
    """Answers the line typed, or None after escape."""

    DEFAULT_CSS = CONFIRM_CSS
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(self, question: str, value: str = "", hint: str = "") -> None:
        super().__init__()
        self._question, self._value, self._hint = question, value, hint

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(safe_line(self._question, 600)), markup=False)
            yield SafeInput(value=safe_line(self._value, 600))
            hint = Content.assemble(
                (f"{safe_line(self._hint, 200)}\n" if self._hint else "", "$foreground-muted"),
                ("⏎", "bold $secondary"), " go   ", ("esc", "bold $secondary"), " cancel",
            )  # fmt: skip
            yield Static(hint, classes="hint", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip() or None)
