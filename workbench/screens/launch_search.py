"""Ctrl+f in the form of a job: a setting by a word of its name or of what it means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from engine.protocol.fields import FieldInfo
from workbench.widgets.safe import safe_line


def found(fields: Sequence[FieldInfo], typed: str) -> list[FieldInfo]:
    """The settings that have every word typed: those that have them in their name before the others."""
    words = typed.casefold().replace("_", " ").split()
    named, meant = [], []
    for field in fields:
        name = field.name.replace("_", " ").casefold()
        if all(word in name for word in words):
            named.append(field)
        elif all(word in f"{name} {field.description.casefold()}" for word in words):
            meant.append(field)
    return named + meant


class SettingSearch(ModalScreen[str | None]):
    """Settings to choose one from, fewer with every letter; escape chooses none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel"),
        Binding("down", "move(1)", "Next", show=False),
        Binding("up", "move(-1)", "Previous", show=False),
    ]
    DEFAULT_CSS = """
    SettingSearch OptionList { height: auto; max-height: 12; }
    SettingSearch OptionList > .option-list--option-highlighted { background: $primary 25%; color: $text; }
    """
    AUTO_FOCUS = "Input"

    def __init__(self, fields: Sequence[FieldInfo]) -> None:
        super().__init__()
        self._fields, self._found = list(fields), list(fields)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "Find a setting"
            dialog.border_subtitle = "⏎ goes there · esc leaves"
            yield Input(placeholder="a word of its name, or of what it means", compact=True)
            options = OptionList(markup=False)
            options.can_focus = False
            yield options

    def on_mount(self) -> None:
        self._show()

    def _show(self) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        for field in self._found:
            name = field.name.replace("_", " ")
            options.add_option(
                Option(Content.assemble((name, "bold"), (f"  {safe_line(field.description, 60)}", "dim")))
            )
        options.highlighted = 0 if self._found else None

    @on(Input.Changed)
    def typed(self, event: Input.Changed) -> None:
        """Shows what has the words typed so far."""
        self._found = found(self._fields, event.value)
        self._show()

    def action_move(self, by: int) -> None:
        """Moves the cursor of the list while one types."""
        options = self.query_one(OptionList)
        if self._found:
            options.highlighted = ((options.highlighted or 0) + by) % len(self._found)

    @on(Input.Submitted)
    def chosen(self) -> None:
        """Takes the setting under the cursor."""
        place = self.query_one(OptionList).highlighted
        if place is not None and self._found:
            self.dismiss(self._found[place].name)

    @on(OptionList.OptionSelected)
    def clicked(self, event: OptionList.OptionSelected) -> None:
        """Takes the one that was clicked."""
        self.dismiss(self._found[event.option_index].name)
