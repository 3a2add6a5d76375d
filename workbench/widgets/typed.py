"""Fields a person types into: what is pasted or loaded cannot bring control characters along."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input, TextArea
from textual.widgets.text_area import Edit, EditResult, TextAreaTheme

from workbench.widgets.safe import safe_text

LIGHT_WORDS = "light-words"


class SafeInput(Input):
    """One line, without controls."""

    def validate_value(self, value: str) -> str:
        return safe_text(value).replace("\n", " ").replace("\t", " ")


class SafeTextArea(TextArea, inherit_bindings=False):
    """Several lines, without controls: every insertion and every loaded text passes through `safe_text`.

    Textual's own F6 and F7 are left out, because they are places of the workbench.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        binding
        for binding in TextArea.BINDINGS
        if isinstance(binding, Binding) and binding.key not in ("f6", "f7")
    ]

    DEFAULT_CSS = """
    SafeTextArea {
        border: round $border-blurred; background: $background; padding: 0 1;
        scrollbar-size-vertical: 1;
        border-title-color: $foreground-muted; border-subtitle-color: $foreground-muted;
        &:focus { border: round $border; border-title-color: $primary; }
        & .text-area--cursor-line { background: $background; }
    }
    """

    def __init__(self, text: str = "", **options: Any) -> None:
        super().__init__(safe_text(text), **options)
        light = TextAreaTheme.get_builtin_theme("github_light")
        if light is not None:  # its colours of words alone: background and cursor come from the style sheet
            self.register_theme(TextAreaTheme(LIGHT_WORDS, syntax_styles=light.syntax_styles))

    def on_mount(self) -> None:
        self.watch(self.app, "theme", self._follow_theme)

    def _follow_theme(self) -> None:
        """Words in colours that can be read on the application's background."""
        self.theme = "css" if self.app.current_theme.dark else LIGHT_WORDS

    def edit(self, edit: Edit) -> EditResult:
        """As Textual's, without the control characters of what is pasted."""
        clean = safe_text(edit.text)
        return super().edit(edit if clean == edit.text else replace(edit, text=clean))

    def load_text(self, text: str) -> None:
        """As Textual's, without control characters."""
        super().load_text(safe_text(text))
