"""The values of a query's parameters, asked for in one dialog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.events import DescendantFocus
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from workbench.widgets.safe import safe_line
from workbench.widgets.typed import SafeInput

NAMED = 6
"""As many of the names that the store has are shown under a field."""


class ParametersScreen(ModalScreen[dict[str, str] | None]):
    """Answers what was typed for each parameter by name, or None after escape."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel")]
    DEFAULT_CSS = """
    ParametersScreen {
        .parameter { height: 1; margin-top: 1; color: $text-primary; }
        #offered { height: auto; margin: 1 0; color: $text-muted; }
    }
    """

    def __init__(
        self, names: Sequence[str], values: Mapping[str, str], offered: Mapping[str, Sequence[str]]
    ) -> None:
        """`values` were given before; `offered` are the names that the store has."""
        super().__init__()
        self._names, self._values, self._offered = names, values, offered

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content("Values for the query")
            dialog.border_subtitle = Content("⏎ runs · tab next · → takes what is offered · esc leaves")
            for name in self._names:
                yield Static(Content(f"${name}"), classes="parameter", markup=False)
                offered = [safe_line(one, 200) for one in self._offered.get(name, ())]
                yield SafeInput(
                    value=safe_line(self._values.get(name, ""), 600),
                    placeholder="a number, or text",
                    suggester=SuggestFromList(offered, case_sensitive=False) if offered else None,
                    name=name,
                )
            yield Static(id="offered", markup=False)

    @on(DescendantFocus)
    def offer(self, event: DescendantFocus) -> None:
        """Names that the store has for the parameter with the cursor."""
        offered = self._offered.get(event.widget.name or "", ())
        names = ", ".join(safe_line(name, 40) for name in offered[:NAMED])
        more = f" and {len(offered) - NAMED} others" if len(offered) > NAMED else ""
        self.query_one("#offered", Static).update(Content(f"In the store: {names}{more}." if names else ""))

    @on(Input.Submitted)
    def go(self) -> None:
        """Take the values; a field that is empty gets the cursor instead."""
        fields = list(self.query(Input))
        empty = next((field for field in fields if not field.value.strip()), None)
        if empty is not None:
            empty.focus()
        else:
            self.dismiss({field.name or "": field.value.strip() for field in fields})
