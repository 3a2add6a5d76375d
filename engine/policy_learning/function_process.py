"""A reward function in a process of its own, which is ended when a response takes it too long.  Torch-free.

Requests and answers are lines of JSON.  `python -m engine.policy_learning.function_process SOURCE` is the
process; what the function itself prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from engine.errors import UsageError
from engine.policy_learning.functions import Item, RewardFunction

STARTING = 60.0  # seconds that a process may take to import the function


class TimedFunction:
    """A function that has so many seconds for each response; a batch has them for all its responses."""

    def __init__(self, source: str, seconds: float) -> None:
        self.source, self.seconds = source, seconds
        self._process: subprocess.Popen[str] | None = None
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._batched = False

    def scores(self, items: Sequence[Item]) -> list[float | None]:
        """A finite score of each, None where time ran out.  Raises UsageError, naming the function."""
        self._start()
        if self._batched:
            answer = self._asked(list(items), self.seconds * len(items))
            return [None] * len(items) if answer is None else list(answer)
        scores: list[float | None] = []
        for item in items:
            self._start()
            answer = self._asked([item], self.seconds)
            scores.append(None if answer is None else answer[0])
        return scores

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

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        # its lines come through a thread: a pipe cannot be waited for with a limit on every system
        self._lines = SimpleQueue()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([p for p in sys.path if p])}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine.policy_learning.function_process", self.source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        reader = threading.Thread(target=_read, args=(self._process.stdout, self._lines), daemon=True)
        reader.start()
        try:
            self._batched = bool(self._answer(STARTING)["batched"])
        except TimeoutError:
            self.close()
            raise UsageError(
                f"The reward function {self.source} was not imported within {STARTING:.0f} seconds; see what "
                "its module does when it is imported."
            ) from None

    def _asked(self, items: Sequence[Item], seconds: float) -> list[float] | None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, and `_answer` says so
            self._process.stdin.write(json.dumps(items) + "\n")
            self._process.stdin.flush()
        try:
            scores: list[float] = self._answer(seconds)["scores"]
        except TimeoutError:
            self.close()
            return None
        return scores

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except Empty:
            raise TimeoutError from None
        if not line:
            self.close()
            raise UsageError(f"The process of the reward function {self.source} ended by itself.")
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


def main() -> None:
    """Answer batches of items on standard input with scores on standard output, a line of JSON each."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the function prints is no answer

    def say(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        function = RewardFunction.found(sys.argv[1])
        say({"batched": function.batched})
        for line in sys.stdin:
            say({"scores": function.scores([Item(*fields) for fields in json.loads(line)])})
    except UsageError as error:
        say({"error": str(error)})


if __name__ == "__main__":
    main()
