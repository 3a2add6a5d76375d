"""What every screen of the workbench has: header, key bar, a way to ask services, a way to tell errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from textual.app import ComposeResult
from textual.css.query import QueryError
from textual.screen import Screen
from textual.widget import MountError

from engine.errors import WorkbenchError
from storage.errors import StoreError
from workbench.widgets.header import Header
from workbench.widgets.keybar import KeyBar

if TYPE_CHECKING:
    from workbench.app import WorkbenchApp
    from workbench.services.workspace import Workspace

Answer = TypeVar("Answer")
P = ParamSpec("P")
S = TypeVar("S", bound="Screen[Any]")

TOLD_ERRORS = (WorkbenchError, StoreError, OSError)
"""Errors with a sentence for the person; anything else is a fault of the program and ends it with a trace."""


def told(
    method: Callable[Concatenate[S, P], Awaitable[None]],
) -> Callable[Concatenate[S, P], Awaitable[None]]:
    """Show the sentence of an error that a screen's coroutine meets, and stay alive.

    A screen that goes away loses its widgets before Textual stops its workers, so that one which comes back
    from waiting then may look for a widget in vain: it has nobody left to show anything to, and just ends.
    """

    @wraps(method)
    async def guarded(self: S, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await method(self, *args, **kwargs)
        except TOLD_ERRORS as error:
            cast("WorkbenchApp", self.app).tell(error)
        except (QueryError, MountError):
            if not is_leaving(self):
                raise

    return guarded


def is_leaving(screen: Screen[Any]) -> bool:
    """Whether the screen is being removed, or is gone: its widgets may be missing."""
    return not (screen.is_attached and screen.display)  # a node being removed is no longer displayed


class WorkbenchScreen(Screen[Any]):
    """A screen with the header above and the keys below; subclasses compose what lies between.

    `TITLE_TEXT` names the screen in help; `LOOP` says in a sentence what it is for.
    """

    TITLE_TEXT = ""
    LOOP = ""
    AUTO_FOCUS = "*"

    @property
    def workbench(self) -> WorkbenchApp:
        return cast("WorkbenchApp", self.app)

    @property
    def workspace(self) -> Workspace:
        """The open workspace; only after `opened` has been awaited once."""
        return self.workbench.workspace

    def compose(self) -> ComposeResult:
        yield Header()
        yield from self.compose_body()
        yield KeyBar()

    def compose_body(self) -> ComposeResult:
        """Widgets between header and key bar."""
        yield from ()

    async def ask(self, question: Callable[[Workspace], Answer]) -> Answer:
        """Answer of a service, computed in a thread so that the screen never waits."""
        workspace = await self.workbench.opened()
        return await asyncio.to_thread(question, workspace)
