"""A lock that threads get in the order in which they asked."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """Who asked first is served first; who has it may take it again.

    `threading.RLock` goes to whoever is quickest, which is the thread that has just let it go: one that
    writes slice after slice would keep everybody else waiting to its end.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        self._waiting: deque[tuple[threading.Lock, int]] = deque()

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._guard:
            if self._owner in (me, None):
                self._owner = me
                self._depth += 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append((turn, me))
        try:
            turn.acquire()  # until the owner hands over
        except BaseException:  # Ctrl-C while waiting, perhaps just when the turn had come
            with self._guard:
                if (turn, me) in self._waiting:
                    self._waiting.remove((turn, me))
                else:
                    self._hand_over()
            raise

    def __exit__(self, *exc: object) -> None:
        with self._guard:
            self._depth -= 1
            if not self._depth:
                self._hand_over()

    def _hand_over(self) -> None:
        """To the first that waits, if one does; whoever comes meanwhile finds it taken."""
        if not self._waiting:
            self._owner, self._depth = None, 0
            return
        turn, self._owner = self._waiting.popleft()
        self._depth = 1
        turn.release()
