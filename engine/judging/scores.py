"""A reward model, or a function of a person, as a judge."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

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
    from engine.scoring.preference import PreferenceHead

PLUGIN = "plugin:"
TOGETHER = 256
"""Questions whose responses a reward model reads at once, each response once."""
Tokens = Sequence[tuple[Sequence[int], Sequence[int]]]
Function = Callable[[str, str, str, str], float]
"""(prompt, first response, second response, criterion) → probability that the first is better, 0 … 1."""


class RewardModelJudge:
    """The better response is the one with the higher score, in whatever order they stand.

    Raises UsageError for a criterion that the reward model does not have; one that has a single criterion
    judges by that.
    """

    def __init__(self, reward_model: RewardModel, criteria: Sequence[str], batch_tokens: int) -> None:
        self._model, self._budget = reward_model, batch_tokens
        self._columns = {name: _column(name, reward_model.criteria) for name in criteria}

    def answers(self, questions: Sequence[PairQuestion]) -> Iterator[Answered]:
        """The place of each question and σ of the difference of its scores, batch by batch."""
        for start in range(0, len(questions), TOGETHER):
            part = questions[start : start + TOGETHER]
            read = self._read(part)
            for place, question in enumerate(part, start):
                first, second = (read.get((question.prompt_id, text)) for text in question.shown)
                if isinstance(first, str | None) or isinstance(second, str | None):
                    why = first if isinstance(first, str) else second
                    yield place, Unanswered("refused by the chat template", str(why))
                else:
                    yield place, of_difference(self._logit(first, second, self._columns[question.criterion]))

    def _of_pairs(self, pairs: Tokens) -> list[np.ndarray]:
        """What is read of each (prompt, response) in tokens: its scores, [C]."""
        return list(self._model.scores_of(pairs, self._budget).numpy())

    def _logit(self, first: np.ndarray, second: np.ndarray, column: int) -> float:
        return float(first[column]) - float(second[column])

    def _read(self, questions: Sequence[PairQuestion]) -> dict[tuple[str, str], np.ndarray | str]:
        """By prompt and text what is read of each response, or why nothing is."""
        tokeniser = self._model.tokeniser
        read: dict[tuple[str, str], np.ndarray | str] = {}
        keys, pairs = [], []
        texts = {(q.prompt_id, text): q.messages for q in questions for text in q.texts}
        for (prompt, text), messages in texts.items():
            try:
                tokens = tokeniser.encode_for_score(messages, text, tokeniser.score_tokens)
            except UsageError as error:
                read[prompt, text] = str(error)
                continue
            keys.append((prompt, text))
            pairs.append((tokens.prompt, tokens.response))
        if pairs:
            read.update(zip(keys, self._of_pairs(pairs), strict=True))
        return read


class PreferenceJudge(RewardModelJudge):
    """The better response is the one that the pairwise preference model prefers."""

    def __init__(
        self,
        reward_model: RewardModel,
        preference: PreferenceHead,
        criteria: Sequence[str],
        batch_tokens: int,
    ) -> None:
        if (preference.layers, preference.parts) != (reward_model.layers, reward_model.parts):
            raise UsageError(
                "The pairwise preference model reads other features than its reward model gives."
            )
        self._model, self._budget, self._preference = reward_model, batch_tokens, preference
        self._columns = {name: _column(name, preference.criteria) for name in criteria}

    def _of_pairs(self, pairs: Tokens) -> list[np.ndarray]:
        """The features of each, [F]."""
        return list(self._model.features_of(pairs, self._budget).numpy())

    def _logit(self, first: np.ndarray, second: np.ndarray, column: int) -> float:
        return float(self._preference.margins(first[None], second[None], column)[0])


def _column(criterion: str, known: Sequence[str]) -> int:
    if criterion not in known and len(known) > 1:
        raise UsageError(f"The reward model has no criterion “{criterion}”. {did_you_mean(criterion, known)}")
    return known.index(criterion) if criterion in known else 0


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
        raise UsageError(f"The judge {path} is not a function; correct its name.")
    judge: Function = function
    return judge
