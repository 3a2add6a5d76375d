"""One of a few names on one line: arrows or space move through them, ⏎ lists them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult, RenderResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from workbench.keyboard import DIALOG
from workbench.widgets.safe import safe_line


class ChooseScreen(ModalScreen[str | None]):
    """A list to choose one name from; escape chooses none."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel")]
    DEFAULT_CSS = """
    ChooseScreen OptionList { height: auto; max-height: 16; }
    ChooseScreen OptionList > .option-list--option-highlighted { background: $primary 25%; color: $text; }
    """

    def __init__(self, title: str, names: Sequence[str], current: str = "") -> None:
        super().__init__()
        self._title, self._names, self._current = title, list(names), current

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(safe_line(self._title, 60) or "Choose")
            dialog.border_subtitle = Content("⏎ takes · esc leaves")
            yield OptionList(
                *(Option(Content(safe_line(name, 200) or " ")) for name in self._names), markup=False
            )

    def on_mount(self) -> None:
        if self._current in self._names:
            self.query_one(OptionList).highlighted = self._names.index(self._current)

    @on(OptionList.OptionSelected)
    def chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._names[event.option_index])


class Choice(Widget, can_focus=True):
    """A value out of `names`; empty while there are none."""

    DEFAULT_CSS = """
    Choice {
        height: 1; background: $surface;
        &:focus { background: $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space", "move(1)", "Next", show=False),
        Binding("left", "move(-1)", "Previous", show=False),
        Binding("enter", "choose", "Choose", show=False),
    ]
    value: reactive[str] = reactive("", init=False)

    class Changed(Message):
        """Another name was chosen."""

        def __init__(self, choice: Choice, value: str) -> None:
            super().__init__()
            self.choice, self.value = choice, value

        @property
        def control(self) -> Choice:
            return self.choice

    def __init__(
        self,
        names: Sequence[str] = (),
        value: str = "",
        *,
        title: str = "Choose",
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.names, self._title = list(names), title
        self.set_reactive(Choice.value, value if value in self.names else (self.names or [""])[0])

    def offer(self, names: Sequence[str]) -> None:
        """Replace the names; the value stays when it is still among them."""
        self.names = list(names)
        if self.value not in self.names:
            self.value = (self.names or [""])[0]
        self.refresh()

    def render(self) -> RenderResult:
        arrows = "$secondary" if self.has_focus else "$foreground-muted"
        room = max(4, self.size.width - 4)
        return Content.assemble(("◂ ", arrows), safe_line(self.value, room) or "–", (" ▸", arrows))

    def watch_value(self, value: str) -> None:
        self.post_message(self.Changed(self, value))

    def action_move(self, by: int) -> None:
        """The next or previous name; round at the ends."""
        if self.value in self.names:
            self.value = self.names[(self.names.index(self.value) + by) % len(self.names)]

    def on_click(self) -> None:
        self.action_choose()

    @work(group=DIALOG)
    async def action_choose(self) -> None:
        """Asks for one of the names in a list."""
        chosen = await self.app.push_screen_wait(ChooseScreen(self._title, self.names, self.value))
        if chosen is not None:
            self.value = chosen
