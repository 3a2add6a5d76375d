"""A model in this process that gives its reasons before its verdict: a generative reward model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from transformers import PreTrainedModel

from engine.judging.model import encoded_question
from engine.judging.question import Answered, JudgeAnswer, Question, Unanswered
from engine.judging.words import read_text
from engine.protocol.rubric import Rubric
from engine.rollout import Sampled, SampledBatch, response_text, sample_steps
from engine.text import Tokeniser

WRITTEN_AT_ONCE = 16
"""Answers that are written together."""
LIKELIEST_ALONE = 1e-6
"""A share of probability that only the likeliest token has."""


class WritingJudge:
    """A model in this process that writes before it judges: the likeliest text, read for its verdict.

    At most `answer_tokens` are written; an answer without a verdict is none.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokeniser: Tokeniser,
        rubric: Rubric,
        answer_tokens: int,
        at_once: int = WRITTEN_AT_ONCE,
    ) -> None:
        self._model, self._tokeniser, self._rubric = model, tokeniser, rubric
        self._tokens, self._at_once = answer_tokens, at_once

    def answers(self, questions: Sequence[Question]) -> Iterator[Answered]:
        """Some questions at a time, in order; None after every token."""
        for start in range(0, len(questions), self._at_once):
            asked: list[tuple[int, list[int]]] = []
            for place in range(start, min(start + self._at_once, len(questions))):
                text = questions[place].asked(self._rubric)
                ids = encoded_question(self._tokeniser, text, room=self._tokens)
                if isinstance(ids, Unanswered):
                    yield place, ids
                else:
                    asked.append((place, ids))
            if asked:
                yield from self._written(questions, asked)

    def _written(
        self, questions: Sequence[Question], asked: Sequence[tuple[int, list[int]]]
    ) -> Iterator[Answered]:
        for said in sample_steps(
            self._model, self._tokeniser, [ids for _, ids in asked], samples=1, top_p=LIKELIEST_ALONE,
            max_new_tokens=self._tokens, stop_ids=self._tokeniser.stop_ids, seeds=[0] * len(asked),
            batch_sequences=len(asked),
        ):  # fmt: skip
            if not isinstance(said, SampledBatch):
                yield None
                continue
            for one in said.responses:
                place, ids = asked[one.prompt_index]
                yield place, self._read(questions[place], one, len(ids))

    def _read(self, question: Question, written: Sampled, tokens_in: int) -> JudgeAnswer | Unanswered:
        text = response_text(self._tokeniser, written)
        answer = read_text(text, self._rubric, question)
        if answer is None:
            shown = "".join(c for c in text[-200:] if c.isprintable())
            cut = "" if written.stopped else ", cut by max_new_tokens"
            return Unanswered("without a verdict", f"it answered “{shown}”{cut}.")
        return replace(answer, text=text, tokens_in=tokens_in, tokens_out=len(written.token_ids))
