"""A reward model, or a function of a person, as a judge."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from engine.chat_template import plain
from engine.errors import UsageError
from engine.judging.question import (
    Answered,
    JudgeAnswer,
    PairQuestion,
    Unanswered,
    of_difference,
    of_probabilities,
)
from engine.protocol.plugins import load, plugged
from engine.protocol.suggest import did_you_mean

if TYPE_CHECKING:
    from engine.models.reward_model import RewardModel

PLUGIN = "plugin:"
TOGETHER = 256
"""Questions whose responses a reward model reads at once, each response once."""
Function = Callable[[str, str, str, str], float]
"""(prompt, first response, second response, criterion) → probability that the first is better, 0 … 1."""


class RewardModelJudge:
    """The better response is the one with the higher score, in whatever order they stand.

    Raises UsageError for a criterion that the reward model does not have; one that has a single criterion
    judges by that.
    """

    def __init__(self, reward_model: RewardModel, criteria: Sequence[str], batch_tokens: int) -> None:
        self._model, self._budget = reward_model, batch_tokens
        known = reward_model.criteria
        self._columns = {name: known.index(name) if name in known else 0 for name in criteria}
        for name in criteria:
            if name not in known and len(known) > 1:
                raise UsageError(f"The reward model has no criterion “{name}”. {did_you_mean(name, known)}")

    def answers(self, questions: Sequence[PairQuestion]) -> Iterator[Answered]:
        """The place of each question and σ of the difference of its scores, batch by batch."""
        for start in range(0, len(questions), TOGETHER):
            part = questions[start : start + TOGETHER]
            scores = self._scores(part)
            for place, question in enumerate(part, start):
                first, second = (scores.get((question.prompt_id, text)) for text in question.shown)
                if isinstance(first, list) and isinstance(second, list):
                    column = self._columns[question.criterion]
                    yield place, of_difference(first[column] - second[column])
                else:
                    yield place, Unanswered("refused by the chat template", str(first or second))

    def _scores(self, questions: Sequence[PairQuestion]) -> dict[tuple[str, str], list[float] | str]:
        """By prompt and text the scores of every criterion, or why there are none."""
        tokeniser = self._model.tokeniser
        found: dict[tuple[str, str], list[float] | str] = {}
        keys, pairs = [], []
        texts = {(q.prompt_id, text): q.messages for q in questions for text in q.texts}
        for (prompt, text), messages in texts.items():
            try:
                tokens = tokeniser.encode_for_score(messages, text, tokeniser.score_tokens)
            except UsageError as error:
                found[prompt, text] = str(error)
                continue
            keys.append((prompt, text))
            pairs.append((tokens.prompt, tokens.response))
        if pairs:
            scores = self._model.scores_of(pairs, self._budget).tolist()
            found.update(zip(keys, scores, strict=True))
        return found


class FunctionJudge:
    """A function of a person.  Raises UsageError, naming it, when it fails or gives no probability."""

    def __init__(self, name: str, function: Function) -> None:
        self._name, self._function = name, function

    def answers(self, questions: Sequence[PairQuestion]) -> Iterator[Answered]:
        """The place of each question and the probability that the function gives its first response."""
        for place, question in enumerate(questions):
            yield place, self._answer(question)

    def _answer(self, question: PairQuestion) -> JudgeAnswer:
        try:
            share = float(self._function(plain(question.messages), *question.shown, question.criterion))
        except (Exception, SystemExit) as error:  # the person's own code may raise anything
            why = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
            raise UsageError(f"The judge {self._name} failed ({type(error).__name__}: {why}).") from error
        if not 0 <= share <= 1:  # NaN too
            shown = "NaN" if math.isnan(share) else f"{share:g}"
            raise UsageError(
                f"The judge {self._name} gave {shown}; it must give the probability that the first "
                "response is better, from 0 to 1."
            )
        return of_probabilities(share, 1 - share)


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
            why = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
            raise UsageError(
                f"The judge {path} cannot be imported ({type(error).__name__}: {why}); install its "
                "package, or put its folder on PYTHONPATH."
            ) from error
    if not callable(function):
        raise UsageError(f"The judge {path} is no function; correct its name.")
    judge: Function = function
    return judge
