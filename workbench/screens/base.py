"""What every screen of the workbench has: header, key bar, a way to ask services, a way to tell errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from textual.app import ComposeResult
from textual.screen import Screen

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
    """Show the sentence of an error that a screen's coroutine meets, and stay alive."""

    @wraps(method)
    async def guarded(self: S, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await method(self, *args, **kwargs)
        except TOLD_ERRORS as error:
            cast("WorkbenchApp", self.app).tell(error)

    return guarded


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
