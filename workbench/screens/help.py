"""F1: every key of the screen one comes from, made from its bindings, and the loop in a few lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from workbench.screens.base import WorkbenchScreen
from workbench.widgets.keybar import key_name

KEY_CELLS = 14
LOOP = (
    ("Prompts", "F2", "import or write prompts; generate K responses to each"),
    ("Rank", "F3", "put the responses in order; the judgements are the data"),
    ("Jobs", "F8", "train a reward model on the judgements, export it to ONNX"),
    ("Score", "F4", "see what the reward model thinks of any text as you type"),
    ("Runs", "F5", "improve the policy against it with PPO, watch the charts"),
    ("Compare", "F6", "the policy before and after, side by side; then rank again"),
    ("SQL", "F7", "everything above is a table you can query"),
)


TEXTUALS_OWN = {
    "app.focus_next", "app.focus_previous", "screen.copy_text", "screen.minimize", "help_quit",
    "command_palette",
}  # fmt: skip
"""Actions that every Textual screen has and nobody looks up here."""
MOVES = ("cursor_", "scroll_", "page_")
"""How the actions begin that move a cursor or a view: arrows and page keys do what they do everywhere."""


def grouped_bindings(screen: Screen[Any], owner: Callable[[object], bool]) -> list[tuple[str, str]]:
    """(keys, description) of the bindings on `screen` whose node `owner` accepts, one line an action."""
    keys: dict[tuple[str, str], list[str]] = {}
    for node, binding, enabled, _ in screen.active_bindings.values():
        described = binding.description and not binding.system and binding.action not in TEXTUALS_OWN
        if enabled and described and owner(node) and not binding.action.startswith(MOVES):
            names = keys.setdefault((binding.action, binding.tooltip or binding.description), [])
            if key_name(binding) not in names:
                names.append(key_name(binding))
    return [(" ".join(names), description) for (_, description), names in keys.items()]


def merged(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Runs like `1 … 9` and `a … d`, whose descriptions differ in the last word only, as one line."""
    result: list[tuple[str, str]] = []
    runs: dict[str, list[int]] = {}
    for keys, description in lines:
        stem, _, last = description.rpartition(" ")
        if len(keys) == 1 and keys.upper() == last.upper():
            if stem in runs:
                start = runs[stem][0]
                first = result[start][0].split(" … ")[0]
                result[start] = (f"{first} … {keys}", f"{stem} {first.upper()} … {last}")
                continue
            runs[stem] = [len(result)]
        result.append((keys, description))
    return result


def key_lines(lines: list[tuple[str, str]]) -> Content:
    """Keys and what they do, one line each."""
    parts: list[Content | str | tuple[str, str]] = []
    for keys, description in lines:
        parts += [(keys.rjust(KEY_CELLS), "bold $secondary"), f"  {description}\n"]
    return Content.assemble(*parts)


def help_content(screen: Screen[Any]) -> Content:
    """Keys of the screen, keys of everywhere, the loop."""
    ours = screen if isinstance(screen, WorkbenchScreen) else None
    title, purpose = (ours.TITLE_TEXT, ours.LOOP) if ours is not None else ("", "")
    parts: list[Content | str | tuple[str, str]] = [(title or "This screen", "bold $primary")]
    parts += [
        (f"   {purpose}", "$foreground-muted"),
        "\n\n",
        key_lines(merged(grouped_bindings(screen, lambda node: node is screen))),
    ]
    parts += [key_lines(grouped_bindings(screen, lambda node: node is not screen and node is not screen.app))]
    explained = None if ours is None else ours.explained()
    parts += [] if explained is None else [explained]
    parts += [
        ("\nEverywhere\n\n", "bold $primary"),
        key_lines(grouped_bindings(screen, lambda node: node is screen.app)),
    ]
    parts += [("ctrl+p".rjust(KEY_CELLS), "bold $secondary"), "  Commands by name\n"]
    parts += [("\nThe loop\n\n", "bold $primary")]
    for name, key, text in LOOP:
        parts += [(f"{key:>{KEY_CELLS}}", "bold $secondary"), (f"  {name:<9}", "bold"), f"{text}\n"]
    return Content.assemble(*parts).rstrip()


class HelpScreen(ModalScreen[None]):
    """The keys of the screen below."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,q", "dismiss", "back"),
        Binding("j", "scroll(1)", "down", show=False),
        Binding("k", "scroll(-1)", "up", show=False),
    ]
    AUTO_FOCUS = "#help"

    def __init__(self, below: Screen[Any]) -> None:
        super().__init__()
        self.content = help_content(below)

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as pane:
            pane.border_title = "Keys"
            pane.border_subtitle = "↑ ↓ scroll · esc back"
            yield Static(self.content)

    def action_scroll(self, by: int) -> None:
        self.query_one("#help", VerticalScroll).scroll_relative(y=by, animate=False)
