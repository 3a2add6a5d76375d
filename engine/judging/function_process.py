"""A judging function in a process of its own, which is ended when a question takes it too long.  Torch-free.

`python -m engine.judging.function_process NAME` is the process (`engine.own_process`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from engine.chat_template import plain
from engine.judging.functions import FunctionJudge, import_judge, probability
from engine.judging.question import Answered, Judge, PairQuestion, Unanswered, of_probabilities
from engine.own_process import OwnProcess, serve

TOO_SLOW = "too slow"


class TimedJudge:
    """A function of a person that has so many seconds for each question; beyond them there is no answer."""

    def __init__(self, name: str, seconds: float) -> None:
        self._seconds = seconds
        self._process = OwnProcess("engine.judging.function_process", name, named=f"the judge {name}")

    def answers(self, questions: Sequence[PairQuestion]) -> Iterator[Answered]:
        """The place of each question and the probability that the function gives its first response.

        Raises UsageError as the function's judge here does.
        """
        for place, question in enumerate(questions):
            asked = (plain(question.messages), *question.shown, question.criterion)
            answer = self._process.ask(asked, self._seconds)
            if answer is None:
                yield place, Unanswered(TOO_SLOW, f"it took longer than {self._seconds:g} seconds.")
            else:
                yield place, of_probabilities(answer["share"], 1 - answer["share"])

    def close(self) -> None:
        """End the process."""
        self._process.close()


def function_judge(name: str, seconds: float) -> Judge:
    """The function as a judge; seconds: that it has for a question, in a process of its own, 0 for no limit.

    Raises UsageError.
    """
    return TimedJudge(name, seconds) if seconds else FunctionJudge(name, import_judge(name))


def _answers(requests: Iterator[Any]) -> Iterator[dict[str, Any]]:
    name = sys.argv[1]
    function = import_judge(name)
    yield {}
    for asked in requests:
        yield {"share": probability(name, function, *asked)}


if __name__ == "__main__":
    serve(_answers)
