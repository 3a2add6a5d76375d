"""Long calls that say nothing: done in a thread, so that the job can go on speaking and can be stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from typing import TypeVar

from engine.protocol.events import Progress

Result = TypeVar("Result")
TICK = 0.5


def in_background(stage: str, work: Callable[[], Result]) -> Generator[Progress, None, Result]:
    """`result = yield from in_background("exporting", work)`: the seconds so far until it is done.

    What `work` raises is raised here.  When the job is stopped the thread is left; the process ends then.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True, name=stage)
    started = time.monotonic()
    thread.start()
    while thread.is_alive():
        yield Progress(stage=stage, done=round(time.monotonic() - started, 1), unit="s")
        thread.join(TICK)
    if errors:
        raise errors[0]
    return results[0]
