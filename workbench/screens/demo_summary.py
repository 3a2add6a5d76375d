"""What came out of the demo, as a table over whatever screen one is on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.demo_rows import COLUMNS, summary_rows
from workbench.widgets.safe import safe_text

if TYPE_CHECKING:
    from workbench.services.demo import DemoTable


def summary_content(table: DemoTable) -> Content:
    """The table, columns aligned, and where to look next."""
    rows = [COLUMNS, *((safe_text(name), before, after) for name, before, after in summary_rows(table))]
    first, second = (max(len(row[place]) for row in rows) for place in (0, 1))
    parts: list[Content | str | tuple[str, str]] = []
    for number, (name, before, after) in enumerate(rows):
        heading = "bold $primary" if number == 0 else ""
        parts += [
            (f"{name:<{first}}  ", "$foreground-muted"),
            (f"{before:<{second}}  ", heading),
            (f"{after}\n", heading or "bold"),
        ]
    parts += [
        f"\nOn {table.eval_prompts} prompts that no training has seen.  ",
        ("F6", "bold $secondary"),
        " compares the answers, ",
        ("F5", "bold $secondary"),
        " has the charts.",
    ]
    return Content.assemble(*parts)


class DemoSummaryScreen(ModalScreen[None]):
    """The closing table of the demo.

    It comes while the person works, so that only esc closes it: a letter or ⏎ meant for the screen below
    must not put it away unread.
    """

    CSS = """
    DemoSummaryScreen .dialog { width: 80; padding: 1 1; scrollbar-size-vertical: 1; }
    DemoSummaryScreen Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close"),
        Binding("f5", "leave('runs')", "Runs"),
        Binding("f6", "leave('compare')", "Compare"),
    ]

    def __init__(self, table: DemoTable) -> None:
        super().__init__()
        self.content = summary_content(table)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as box:
            box.border_title = "The demo is done"
            box.border_subtitle = "esc closes"
            yield Static(self.content, markup=False)

    def action_leave(self, mode: str) -> None:
        """Close, and go where the last line points."""
        self.dismiss()
        self.app.call_later(self.app.run_action, f"go('{mode}')")
