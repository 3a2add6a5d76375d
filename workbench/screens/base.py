"""What every screen of the workbench has: header, key bar, a way to ask services, a way to tell errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from textual.app import ComposeResult
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from workbench.leaving import came_too_late, is_leaving
from workbench.widgets.header import Header
from workbench.widgets.keybar import KeyBar
from workbench.widgets.safe import safe_line

if TYPE_CHECKING:
    from workbench.services.workspace import Workspace
    from workbench.shell import Shell

Answer = TypeVar("Answer")
P = ParamSpec("P")
S = TypeVar("S", bound=DOMNode)


def told(
    method: Callable[Concatenate[S, P], Awaitable[None]],
) -> Callable[Concatenate[S, P], Awaitable[None]]:
    """Show the sentence of whatever error a coroutine of a screen, or a part of one, meets, and stay alive.

    A screen that goes away loses its widgets before Textual stops its workers, so that one which comes back
    from waiting then may look for a widget in vain: it has nobody left to show anything to, and just ends.
    """

    @wraps(method)
    async def guarded(self: S, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await method(self, *args, **kwargs)
        except Exception as error:
            if not came_too_late(error, self):
                cast("Shell", self.app).tell(error)

    return guarded


async def attempt(dialog: Screen[Any], says: str, asked: Callable[[Workspace], Answer]) -> Answer | None:
    """What `asked` makes of the workspace, in a thread; else the line `says` says why it failed.

    None where it failed: the dialog stays open.
    """
    app = cast("Shell", dialog.app)
    workspace = await app.opened()
    try:
        return await asyncio.to_thread(asked, workspace)
    except Exception as error:
        dialog.query_one(says, Static).update(Content(safe_line(app.explain(error), 300)))
        return None


class FocusChangesParts:
    """A widget whose parts are drawn otherwise while the focus is within it."""


class WorkbenchScreen(Screen[Any]):
    """A screen with the header above and the keys below; subclasses compose what lies between.

    `TITLE_TEXT` names the screen in help; `LOOP` says in a sentence what it is for.
    """

    TITLE_TEXT = ""
    LOOP = ""
    AUTO_FOCUS = "*"

    def explained(self) -> Content | None:
        """What F1 says of this screen behind its keys; None where the keys say it all."""
        return None

    @property
    def workbench(self) -> Shell:
        """The application, by what screens may ask of it."""
        return cast("Shell", self.app)

    @property
    def workspace(self) -> Workspace:
        """The open workspace; only after `opened` has been awaited once."""
        return self.workbench.workspace

    def _update_focus_styles(self, focused: Widget | None = None, blurred: Widget | None = None) -> None:
        """Style anew what a moved cursor can change: what lies above it, and the line that it is on.

        Textual styles everything in the outermost pane that a rule with `:focus-within` knows; in a long form
        that takes a third of a second a key.  Here such a rule changes the pane itself; a widget whose parts
        it changes is one of `FocusChangesParts`.  What lies around both widgets has the cursor in it as
        before, and is not painted anew.
        """
        changed: set[DOMNode] = set()
        moved = [widget for widget in (focused, blurred) if widget is not None]
        around = set.intersection(*(set(widget.ancestors) for widget in moved)) if len(moved) == 2 else set()
        for widget in moved:
            changed.update(widget.walk_children(with_self=True))
            for above in widget.ancestors:
                if above not in around:
                    if above._has_focus_within:
                        changed.add(above)
                    if isinstance(above, FocusChangesParts):
                        changed.update(above.walk_children())
        if changed:
            self.app.stylesheet.update_nodes(changed, animate=True)

    def compose(self) -> ComposeResult:
        yield Header()
        yield from self.compose_body()
        yield KeyBar()

    def compose_body(self) -> ComposeResult:
        """Widgets between header and key bar."""
        yield from ()

    def leave(self, answer: object = None) -> bool:
        """Close this screen unless the person has left it meanwhile; whether it was still in front."""
        stays = self.is_current and not is_leaving(self)
        if stays:
            self.dismiss(answer)
        return stays

    async def ask(self, question: Callable[[Workspace], Answer]) -> Answer:
        """Answer of a service, computed in a thread so that the screen never waits."""
        workspace = await self.workbench.opened()
        return await asyncio.to_thread(question, workspace)
