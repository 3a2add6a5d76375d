"""A person's function in a process of its own, which is ended when an answer takes it too long.  Torch-free.

Requests and answers are lines of JSON; the first answer says what the function is like.  The process is
`python -m MODULE ARGUMENT …`, whose module calls `serve`; what the function itself prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from engine.errors import UsageError

STARTING = 300.0  # seconds that a process may take to import the function, which may load a model


class OwnProcess:
    """One function's process, started when it is asked and again after it was ended.

    named: what the function is called in sentences, “the judge own:better”.
    """

    def __init__(self, module: str, *arguments: str, named: str) -> None:
        self._command = [sys.executable, "-P", "-m", module, *arguments]
        self._named = named
        self._process: subprocess.Popen[str] | None = None
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._first: dict[str, Any] = {}

    def started(self) -> dict[str, Any]:
        """The first answer of the process, which runs now.  Raises UsageError."""
        if self._process is not None and self._process.poll() is None:
            return self._first
        self.close()
        # its lines come through a thread: a pipe cannot be waited for with a limit on every system
        self._lines = SimpleQueue()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([p for p in sys.path if p])}
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        reader = threading.Thread(target=_read, args=(self._process.stdout, self._lines), daemon=True)
        reader.start()
        try:
            self._first = self._answer(STARTING)
        except TimeoutError:
            self.close()
            raise UsageError(
                f"{self._named[0].upper()}{self._named[1:]} was not imported within {STARTING:.0f} seconds; "
                "see what its module does when it is imported."
            ) from None
        return self._first

    def ask(self, request: Any, seconds: float) -> dict[str, Any] | None:
        """What it answers, or None where that took longer, and it was ended.  Raises UsageError."""
        self.started()
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, and `_answer` says so
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        try:
            return self._answer(seconds)
        except TimeoutError:
            self.close()
            return None

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
            self._process = None

    def __del__(self) -> None:
        self.close()

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except Empty:
            raise TimeoutError from None
        if not line:
            self.close()
            raise UsageError(f"The process of {self._named} ended by itself.")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            self.close()
            raise UsageError(answer["error"])
        return answer


def _read(stream: Any, lines: SimpleQueue[str]) -> None:
    with suppress(ValueError, OSError):  # closed
        for line in stream:
            lines.put(line)
    lines.put("")


def serve(answers: Callable[[Iterator[Any]], Iterator[dict[str, Any]]]) -> None:
    """Be such a process: `answers` makes of the requests the first answer and one of each request.

    A UsageError that it raises is an answer too, the last one.
    """
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the function prints is no answer

    def say(answer: dict[str, Any]) -> None:
        told.write(json.dumps(answer) + "\n")
        told.flush()

    try:
        for answer in answers(json.loads(line) for line in sys.stdin):
            say(answer)
    except UsageError as error:
        say({"error": str(error)})
