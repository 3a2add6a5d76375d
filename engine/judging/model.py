"""A causal language model as a judge: the probabilities of the verdicts as its next token."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from engine.errors import NonFiniteError, UsageError
from engine.judging.question import Answered, Question, Unanswered
from engine.models.head import head_of
from engine.models.packing import Row
from engine.models.trunk import Trunk
from engine.protocol.rubric import Rubric
from engine.text import Tokeniser
from engine.wording import counted

TOGETHER = 64
"""Questions that are sorted by length among each other, so that a batch has little padding."""


class ModelJudge:
    """A model in this process.

    labels: what it may answer, the rubric's verdicts if they are not given.  Raises UsageError when one of
    them is no token of the model.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokeniser: Tokeniser,
        rubric: Rubric,
        batch_tokens: int,
        labels: Sequence[str] = (),
    ) -> None:
        self._tokeniser, self._rubric, self._budget = tokeniser, rubric, batch_tokens
        self._head = head_of(model)
        self._trunk = Trunk.of(model, tokeniser.pad_id, model.device)
        self._verdicts = verdict_tokens(tokeniser, labels or rubric.verdicts)

    def answers(self, questions: Sequence[Question]) -> Iterator[Answered]:
        """In batches of about `batch_tokens`; a question too long for the model is left out."""
        for start in range(0, len(questions), TOGETHER):
            encoded = []
            for place in range(start, min(start + TOGETHER, len(questions))):
                ids = self.encode(questions[place])
                if isinstance(ids, Unanswered):
                    yield place, ids
                else:
                    encoded.append((place, ids))
            encoded.sort(key=lambda pair: (len(pair[1]), pair[0]))
            while encoded:
                size = 1
                while size < len(encoded) and (size + 1) * len(encoded[size][1]) <= self._budget:
                    size += 1
                batch, encoded = encoded[:size], encoded[size:]
                yield from self._measured(questions, batch)

    def encode(self, question: Question) -> list[int] | Unanswered:
        """The question's tokens up to where the model would answer."""
        return encoded_question(self._tokeniser, question.asked(self._rubric))

    @torch.inference_mode()
    def _measured(
        self, questions: Sequence[Question], batch: Sequence[tuple[int, list[int]]]
    ) -> Iterator[Answered]:
        started = time.monotonic()
        hidden_N_D = self._trunk.last([Row(ids[:-1], [ids[-1:]]) for _, ids in batch])
        logprobs_N_V = torch.log_softmax(self._head(hidden_N_D).float(), dim=-1)
        columns = [logprobs_N_V[:, ids].logsumexp(dim=-1).exp() for ids in self._verdicts]
        found_N_3 = torch.stack(columns, dim=1).cpu()
        if not torch.isfinite(found_N_3).all():
            raise NonFiniteError(
                "The model that judges gave a probability that is not finite; choose another."
            )
        seconds = (time.monotonic() - started) / len(batch)
        for (place, ids), probabilities in zip(batch, found_N_3.tolist(), strict=True):
            answer = questions[place].answered(probabilities)
            yield place, replace(answer, tokens_in=len(ids), seconds=seconds)


def encoded_question(tokeniser: Tokeniser, text: str, room: int = 0) -> list[int] | Unanswered:
    """A question's tokens up to where the model would answer, with room for so many."""
    chat = tokeniser.has_chat_template
    messages = [{"role": "user", "content": text if chat else f"{text}\n\nAnswer:"}]
    try:
        ids = tokeniser.encode_prompt(messages, "chat" if chat else "plain")
    except UsageError as error:
        return Unanswered("refused by the chat template", str(error))
    limit = tokeniser.max_positions
    if limit and len(ids) + room > limit:
        of_answer = f" and its answer may have {room}" if room else ""
        return Unanswered(
            "too long",
            f"the question has {counted(len(ids), 'token')}{of_answer}, and the model has {limit} positions.",
        )
    return ids


def verdict_tokens(tokeniser: Tokeniser, labels: Sequence[str]) -> list[list[int]]:
    """For each label the tokens that write it, with or without a space before it.

    Raises UsageError for a label that is several tokens, or two labels that are one.
    """
    tokens: list[list[int]] = []
    for label in labels:
        written = [tokeniser.encode_response(text) for text in (label, f" {label}")]
        single = sorted({ids[0] for ids in written if len(ids) == 1})
        if not single:
            raise UsageError(
                f"“{label}” is several tokens of {tokeniser.name}, so its probability is not one number; "
                "choose other labels in the rubric."
            )
        tokens.append(single)
    if len({token for ids in tokens for token in ids}) < sum(map(len, tokens)):
        raise UsageError(f"Two labels of the rubric are one token of {tokeniser.name}; choose other labels.")
    return tokens
