"""ctrl+p: what a person types finds commands by their words; what changes something is never guessed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from workbench.shell import Command, Shell

if TYPE_CHECKING:
    from typing import Any

    from textual.screen import Screen


def of_screen(app: Shell, screen: Screen[Any]) -> Iterator[Command]:
    """What the screen's own keys do, each once, by the name that its key has."""
    from workbench.screens.help import TEXTUALS_OWN

    seen = {"Import a file"}
    for node, binding, enabled, _ in screen.active_bindings.values():
        hidden = binding.system or binding.action in TEXTUALS_OWN or not binding.description
        numbered = "(" in binding.action and not binding.show  # one of many: a letter, a digit, an arrow
        title = binding.tooltip or binding.description
        skipped = hidden or numbered or title in seen or binding.key == "escape"
        if enabled and node is not app and not skipped:
            seen.add(title)
            yield Command(
                title,
                f"On this screen, key {binding.key}",
                partial(app.run_action, binding.action, node),
                goes_somewhere=False,
            )


def strength(query: str, command: Command, fuzzy: float) -> float:
    """How well a command answers what was typed, 0 … 1; 0 leaves it out.

    Every word typed begins a word of the title (best), or of title and help together.  A command that only
    goes somewhere is found by scattered letters too (`fuzzy`, 0 or more), behind all of those.  Among equals
    one that acts at once stands behind one that goes somewhere.
    """
    typed, title = query.casefold().split(), command.title.casefold()
    whole = f"{title} {command.help.casefold()}"
    behind = 0.0 if command.goes_somewhere else 0.05
    if not typed:
        return 0.0
    if title.startswith(" ".join(typed)):
        return 1.0 - behind
    if _begins(typed, title):
        return 0.8 - behind
    if _begins(typed, whole):
        return 0.6 - behind
    return fuzzy / (fuzzy + 1.0) / 2 if command.goes_somewhere else 0.0


def _begins(typed: list[str], text: str) -> bool:
    """Whether each word typed begins a word of the text."""
    words = text.replace("-", " ").split()
    return all(any(word.startswith(part) for word in words) for part in typed)


class Commands(Provider):
    """Everything that the application can do, for ctrl+p."""

    def _all(self) -> list[Command]:
        return list(cast(Shell, self.app).commands(self.screen))

    async def discover(self) -> Hits:
        """Every command by title, while nothing is typed."""
        for command in sorted(self._all(), key=lambda each: each.title):
            yield DiscoveryHit(command.title, command.run, help=command.help)

    async def search(self, query: str) -> Hits:
        """Commands that the typed letters match, the strongest first."""
        matcher = self.matcher(query)
        for command in self._all():
            score = strength(query, command, matcher.match(command.title))
            if score > 0:
                title = matcher.highlight(command.title)
                yield Hit(score, title, command.run, text=command.title, help=command.help)
