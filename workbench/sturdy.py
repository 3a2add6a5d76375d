"""An application that outlives its own faults: each is told in a sentence and logged, and it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import textual.screen
from rich.text import Text
from textual import events, on
from textual._context import active_message_pump
from textual.actions import ActionParseResult
from textual.app import App
from textual.dom import DOMNode
from textual.driver import Driver
from textual.screen import Screen
from textual.worker import WorkerFailed

from workbench.keyboard import Keyboard, keys_dropped, reading_escapes
from workbench.leaving import came_too_late
from workbench.widgets.safe import safe_line

PAINT_SECONDS = 1 / 200
"""What has changed is painted at the latest so long after it stands.  Textual waits up to a sixtieth of a
second, a third of what a key may take; a key changes little, so painting it at once costs no more."""
vars(textual.screen)["UPDATE_PERIOD"] = PAINT_SECONDS


class SturdyApp(App[None]):
    """What breaks in an action, a worker or a widget, and keys that come before their screen stands."""

    def __init__(self) -> None:
        super().__init__()
        self._last_words = ""
        self.keyboard = Keyboard(self, super().on_event, partial(self.tell, severity="warning"))

    @property
    def log_folder(self) -> Path | None:
        """Where faults are logged; None when there is no such place."""
        return None

    @property
    def _background_screens(self) -> list[Screen[Any]]:
        """Screens that may shine through the one on top: none through an opaque one.

        Textual counts the next one below always, and paints the whole terminal when anything there changes,
        a job's progress in a header that nobody sees.
        """
        if self._screen_stack and self._screen_stack[-1].styles.background.a == 1:
            return []
        return super()._background_screens

    # -- telling ------------------------------

    def tell(self, error: BaseException | str, *, severity: str = "error") -> None:
        """One sentence for the person, in the corner; never markup, never a control character."""
        sentence = safe_line(error if isinstance(error, str) else self.explain(error))
        level = (
            "warning" if severity == "warning" else "information" if severity == "information" else "error"
        )
        self.notify(sentence, severity=level, markup=False, timeout=8 if level == "error" else 4)  # type: ignore[arg-type]

    def explain(self, error: BaseException) -> str:
        """The sentence of an error.  One that nobody foresaw is logged too, and the sentence says where."""
        from workbench.services import faults

        if faults.is_foreseen(error):
            return faults.sentence(error)
        log = faults.log(error, self.log_folder)
        return faults.sentence(error, f"{log} holds the details" if log is not None else "")

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Perform an action.  One that breaks is told and logged; what is open stays open."""
        try:
            return await super().run_action(action, default_namespace, namespaces)
        except Exception as error:
            if not came_too_late(error, default_namespace):
                self.tell(error)
            return True

    def _handle_exception(self, error: Exception) -> None:
        """What Textual does with an error that no handler caught: for it, the end of the application.

        A worker that broke has ended by itself, and the rest goes on.  A message handler that broke leaves
        its widget deaf, so the application ends, with a sentence and not with a trace.
        """
        if isinstance(error, WorkerFailed):
            self.tell(error.error)
            return
        from workbench.services import faults

        if came_too_late(error, active_message_pump.get(None)):
            return
        self._last_words = safe_line(self.explain(error))
        if faults.is_foreseen(error):  # elsewhere a sentence is enough; here it cost the application
            faults.log(error, self.log_folder)
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._exit_renderables.append(Text(self._last_words))
        self._close_messages_no_wait()

    # -- keys ------------------------------

    async def on_event(self, event: events.Event) -> None:
        """What is typed stands in a line, so that each key meets what it was meant for."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self.keyboard.take(event)
        else:
            await super().on_event(event)

    def push_screen(self, *args: Any, **kwargs: Any) -> Any:
        """As Textual's; keys typed ahead wait until the new screen stands."""
        self.keyboard.asks()
        return super().push_screen(*args, **kwargs)

    def get_driver_class(self) -> type[Driver]:
        """Textual's driver of this terminal, with escape sequences read whole."""
        return reading_escapes(super().get_driver_class())

    @on(Driver.SignalResume)
    def redraw(self) -> None:
        """Back from the shell: the terminal shows nothing of what Textual believes to stand there."""
        self.refresh(layout=True)

    async def _shutdown(self) -> None:
        self.keyboard.close()  # its line would ask for the screen on top, and there is none any more
        await super()._shutdown()

    def forget_typed(self, why: str) -> None:
        """Drop the keys that were typed ahead for something that does not come, and say so."""
        if dropped := self.keyboard.forget():
            self.tell(f"{why}: {keys_dropped(dropped)}.", severity="warning")
