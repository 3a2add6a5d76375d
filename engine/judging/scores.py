"""A reward model, or the pairwise preference model beside it, as a judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import UsageError
from engine.judging.question import (
    Answered,
    PairQuestion,
    Unanswered,
    of_difference,
)
from engine.protocol.suggest import did_you_mean

if TYPE_CHECKING:
    from engine.models.reward_model import RewardModel
    from engine.scoring.preference import PreferenceHead

TOGETHER = 256
"""Questions whose responses a reward model reads at once, each response once."""
Tokens = Sequence[tuple[Sequence[int], Sequence[int]]]


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
