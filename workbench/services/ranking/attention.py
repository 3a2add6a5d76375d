"""How long somebody has looked at something, pauses left out."""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE_SECONDS = 120.0
"""Nobody reads that long without a key, a click or a turn of the wheel: what is beyond it was a pause."""


class Attention:
    """A clock that every sign of life moves on, by at most `PAUSE_SECONDS`."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seconds, self._last = 0.0, now()
        self._away = False

    def begin(self, seconds: float = 0.0) -> None:
        """Something new is looked at, for which that many seconds were spent before."""
        self._seconds, self._last = seconds, self._now()

    def touch(self) -> None:
        """A sign of life."""
        now = self._now()
        if not self._away:
            self._seconds += min(now - self._last, PAUSE_SECONDS)
        self._last = now

    def leave(self) -> None:
        """Something else is looked at from now on."""
        self.touch()
        self._away = True

    def come_back(self) -> None:
        """It is looked at again: time counts from now on."""
        self.touch()
        self._away = False

    @property
    def seconds(self) -> float:
        """Up to now."""
        self.touch()
        return self._seconds
