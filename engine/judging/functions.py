"""A function of a person as a judge.  Torch-free."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Sequence

from engine.chat_template import plain
from engine.errors import UsageError, line_of
from engine.judging.question import Answered, PairQuestion, of_probabilities
from engine.protocol.plugins import load, plugged
from engine.protocol.suggest import did_you_mean

PLUGIN = "plugin:"
Function = Callable[[str, str, str, str], float]
"""(prompt, first response, second response, criterion) → probability that the first is better, 0 … 1."""


class FunctionJudge:
    """A function of a person.  Raises UsageError, naming it, when it fails or gives no probability."""

    def __init__(self, name: str, function: Function) -> None:
        self._name, self._function = name, function

    def answers(self, questions: Sequence[PairQuestion]) -> Iterator[Answered]:
        """The place of each question and the probability that the function gives its first response."""
        for place, question in enumerate(questions):
            asked = (plain(question.messages), *question.shown, question.criterion)
            share = probability(self._name, self._function, *asked)
            yield place, of_probabilities(share, 1 - share)


def probability(name: str, function: Function, prompt: str, first: str, second: str, criterion: str) -> float:
    """What the function says.  Raises UsageError, naming it."""
    try:
        share = float(function(prompt, first, second, criterion))
    except (Exception, SystemExit) as error:  # the person's own code may raise anything
        raise UsageError(f"The judge {name} failed ({type(error).__name__}: {line_of(error)}).") from error
    if not 0 <= share <= 1:  # NaN too
        shown = "NaN" if math.isnan(share) else f"{share:g}"
        raise UsageError(
            f"The judge {name} gave {shown}; it must give the probability that the first response is better, "
            "from 0 to 1."
        )
    return share


def import_judge(path: str) -> Function:
    """The function `package.module:function`, or `plugin:NAME` of an installed package.

    Raises UsageError naming the path.
    """
    if path.startswith(PLUGIN):
        name = path.removeprefix(PLUGIN)
        known = plugged("judges")
        if name not in known:
            raise UsageError(f"There is no plugin with a judge “{name}”. {did_you_mean(name, known)}")
        function = load("judges", name)
    else:
        module, _, name = path.partition(":")
        try:
            function = getattr(importlib.import_module(module), name, None)
        except (Exception, SystemExit) as error:  # the module's own code may raise anything
            raise UsageError(
                f"The judge {path} cannot be imported ({type(error).__name__}: {line_of(error)}); install "
                "its package, or put its folder on PYTHONPATH."
            ) from error
    if not callable(function):
        raise UsageError(f"The judge {path} is not a function; correct its name.")
    judge: Function = function
    return judge
