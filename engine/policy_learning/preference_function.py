"""A preference that is a function of a person.  Torch-free.

`python -m engine.policy_learning.preference_function NAME` answers for it in a process of its own
(`engine.own_process`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

from engine.errors import UsageError, line_of
from engine.own_process import OwnProcess, serve
from engine.policy_learning.rewards.functions import import_function


class PreferenceFunction:
    """A function `(prompt, first, second)` that says how likely the first is better.

    seconds: that it has for a pair, in a process of its own; 0 for no limit.  Raises UsageError.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        module = "engine.policy_learning.preference_function"
        self._process = OwnProcess(module, name, named=f"the preference {name}") if seconds else None
        self._function = None if seconds else import_function(name)

    def said(self, prompt: str, first: str, second: str) -> float:
        """From 0 to 1.  Raises UsageError, naming the function, when it fails or takes too long."""
        if self._process is None:
            assert self._function is not None
            return _said(self._name, self._function, prompt, first, second)
        answer = self._process.ask((prompt, first, second), self._seconds)
        if answer is None:
            raise UsageError(f"The preference {self._name} took too long for a pair; raise function_seconds.")
        return float(answer["said"])


def _said(name: str, function: Callable[..., float], prompt: str, first: str, second: str) -> float:
    try:
        said = float(function(prompt, first, second))
    except (Exception, SystemExit) as error:  # the person's own code may raise anything
        said_why = f"{type(error).__name__}: {line_of(error)}"
        raise UsageError(f"The preference {name} failed ({said_why}).") from error
    if not (math.isfinite(said) and 0 <= said <= 1):
        raise UsageError(f"The preference {name} gave {said}; it must give a probability, from 0 to 1.")
    return said


def _answers(requests: Iterator[Any]) -> Iterator[dict[str, Any]]:
    name = sys.argv[1]
    function = import_function(name)
    yield {}
    for asked in requests:
        yield {"said": _said(name, function, *asked)}


if __name__ == "__main__":
    serve(_answers)
