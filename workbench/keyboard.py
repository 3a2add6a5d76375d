"""Keys in the order in which they were typed: each waits until the one before has done what it does.

Textual gives a key to the widget that has the cursor when the key arrives; what the key does happens later.
Somebody who types faster than that, or whose keys come in one packet over a slow line, would have a digit in
the field before, a letter in the screen below a dialog, or a key that nobody takes.  Here keys stand in line:

- a key is given out once the screen on top stands, has its cursor, and `keys_wait` of it is over;
- the next one once the key before has been through every widget that it is offered to, and the dialog that it
  opens is on top;
- what is typed ahead is dropped, with a sentence, when what it was meant for does not come.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from weakref import WeakSet

from textual import events
from textual._xterm_parser import XTermParser
from textual.dom import DOMNode
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.worker import NoActiveWorker, Worker, get_current_worker

if TYPE_CHECKING:
    from textual.app import App
    from textual.driver import Driver

SCREEN_SECONDS = 2.0
"""A key waits at most this long for a new screen, or for the key before: one that is stuck must not keep the
person from leaving."""
BUSY_SECONDS = 10.0
"""A key waits at most this long for a screen that stores or fetches; then what was typed ahead is dropped."""
LEAVE_SECONDS = 3.0
"""A key that leaves the application waits at most this long for those before it, and is never dropped."""
DIALOG = "dialog"
"""Group of the workers that a key starts and that put a question on top: until it stands there, keys wait."""
LOOK_SECONDS = 0.005
Typed = events.Key | events.Paste


@runtime_checkable
class Waits(Protocol):
    """A screen that now and then stores or fetches, and shows something else after it."""

    @property
    def keys_wait(self) -> bool:
        """Whether it does so now: a key would meet what goes away."""
        ...


class EscapeParser(XTermParser):
    """Escape and a key right behind it are these two keys.

    Terminals send them as the same bytes as alt and the key, and Textual reads them so: the dialog would stay
    open and ⏎ would choose in it.  No key of the workbench is made with alt.
    """

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        if alt and len(sequence) == 1:
            yield events.Key("escape", "\x1b")
            alt = False
        for event in super()._sequence_to_key_events(sequence, alt=alt):
            if len(sequence) == 2 and sequence[0] == "\x1b" != sequence[1]:
                event.character = sequence  # `two_keys` decides: some terminals move by words so
            yield event


def reading_escapes(driver: type[Driver]) -> type[Driver]:
    """Let the driver read what the terminal sends with `EscapeParser`."""
    module = sys.modules[driver.__module__]
    if hasattr(module, "XTermParser"):
        vars(module)["XTermParser"] = EscapeParser
    return driver


def two_keys(event: events.Key, focused: object) -> list[events.Key]:
    """The keys that were pressed: escape and another where the bytes of both came together, else the one."""
    pair = event.character or ""
    if len(pair) != 2 or not pair.startswith("\x1b"):
        return [event]
    from textual.widgets import Input, TextArea  # not for the first frame

    if isinstance(focused, Input | TextArea) and event.key.startswith("ctrl+"):
        return [event]
    parser = XTermParser()
    behind = [each for each in parser.feed(pair[1]) if isinstance(each, events.Key)]
    return [events.Key("escape", "\x1b"), *behind]


class Keyboard:
    """The line of keys of one application."""

    def __init__(
        self, app: App[Any], give: Callable[[Typed], Awaitable[None]], warn: Callable[[str], None]
    ) -> None:
        """`give` hands a key to the widget with the cursor, as Textual does; `warn` tells the person."""
        self._app, self._give, self._warn = app, give, warn
        self._line: deque[Typed] = deque()
        self._standing: WeakSet[Screen[Any]] = WeakSet()
        self._asked: WeakSet[Worker[Any]] = WeakSet()
        self._task: asyncio.Task[None] | None = None

    def take(self, event: Typed) -> None:
        """Put a key at the end of the line."""
        self._line.append(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    def forget(self) -> int:
        """Drop what was typed ahead, except what leaves the application; how many keys that were."""
        leading_away = [event for event in self._line if self._leads_away(event)]
        dropped = len(self._line) - len(leading_away)
        self._line = deque(leading_away)
        return dropped

    def close(self) -> None:
        """The application ends: what was typed ahead has nowhere to go any more."""
        self._line.clear()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    @property
    def waiting(self) -> int:
        """How many keys stand in the line."""
        return len(self._line)

    async def _work(self) -> None:
        while self._line and self._app.is_running:
            try:
                await self._ready(LEAVE_SECONDS if self._leads_away(self._line[0]) else BUSY_SECONDS)
                if not self._line:
                    return  # dropped meanwhile
                event = self._line.popleft()
                keys = two_keys(event, self._app.focused) if isinstance(event, events.Key) else [event]
                if len(keys) > 1:
                    self._line.extendleft(reversed(keys[1:]))
                target = self._app.focused or self._app.screen
                await self._give(keys[0])
                await self._through(target)
            except Exception as error:  # as in a message handler: the application says so
                self._app._handle_exception(error)

    def _leads_away(self, event: Typed) -> bool:
        """Whether the key has a meaning wherever one is, such as to quit."""
        if not isinstance(event, events.Key):
            return False
        bindings = self._app._bindings.key_to_bindings.get(event.key, [])
        return any(binding.priority for binding in bindings)

    async def _ready(self, most: float) -> None:
        """Return once the screen on top stands and waits for a key, or after so many seconds."""
        begun = time.monotonic()
        waited = False
        while True:
            screen = self._app.screen
            await self._stands(screen)
            if screen is self._app.screen and not self._busy(screen):
                if not waited:
                    return
                waited = False  # what ended the wait may have moved the cursor, in the queue still
                await _dealt_with(self._app)
                continue
            waited = True
            if time.monotonic() - begun > most:
                if dropped := self.forget():
                    self._warn(f"The store is slow: {keys_dropped(dropped)}.")
                return
            await asyncio.sleep(LOOK_SECONDS)

    def _busy(self, screen: Screen[Any]) -> bool:
        """Whether something is under way after which this screen, or another, shows something else."""
        if isinstance(screen, Waits) and screen.keys_wait:
            return True
        return any(
            worker.group == DIALOG
            and not worker.is_finished
            and worker not in self._asked
            and (worker.node is self._app or (worker.node.is_attached and worker.node.screen is screen))
            for worker in self._app.workers
        )

    def asks(self) -> None:
        """A screen is put on top; where a worker does it, that is the question it was to ask."""
        with suppress(NoActiveWorker):
            self._asked.add(get_current_worker())

    async def _stands(self, screen: Screen[Any]) -> None:
        """Return once the screen is mounted and has dealt with what came with its opening."""
        if screen not in self._standing:
            await _dealt_with(screen)
            self._standing.add(screen)

    async def _through(self, target: DOMNode) -> None:
        """Return once the key has been offered to the target and to all above it, the application last.

        Twice: what a widget makes of the key, such as the choice in a list, takes the same way.
        """
        begun = time.monotonic()
        for pump in [*_above(target), self._app] * 2:
            if time.monotonic() - begun < SCREEN_SECONDS:
                await _dealt_with(pump)


def keys_dropped(count: int) -> str:
    """What is said when keys that were typed ahead are thrown away."""
    return f"{count} key{'' if count == 1 else 's'} typed ahead {'was' if count == 1 else 'were'} not taken"


def _above(target: DOMNode) -> list[DOMNode]:
    """The target and its ancestors without the application, which take a key one after another."""
    return target.ancestors_with_self[:-1] if target.is_attached else [target]


async def _dealt_with(pump: MessagePump) -> None:
    """Return once the pump has dealt with what it has been sent so far; it may be gone."""
    done = asyncio.Event()
    if pump.is_running and pump.call_later(done.set):
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), SCREEN_SECONDS)
