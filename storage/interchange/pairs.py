"""Pairs: `chosen` and `rejected`, with or without `prompt`.

- plain: three texts
- conversational: lists of messages; `prompt` is the conversation and the others hold one message of the
  assistant, or there is no prompt and both are whole conversations that differ in the last message
- transcripts: no prompt, both texts of the form `\\n\\nHuman: …\\n\\nAssistant: …`; the turns that they
  share are the prompt
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from storage.ids import Chat
from storage.interchange.rows import RowError, chat_of, looks_like_messages, text_of
from storage.interchange.shapes import Job, Shape
from storage.interchange.staging import Verdict

TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")
PARTED = "the conversations part before the last answer"


def take(job: Job, values: Mapping[str, Any], number: int) -> None:
    if job.has("prompt"):
        chat = chat_of(values, job.columns["prompt"])
        chosen, rejected = (_answer(values, job.columns[role]) for role in ("chosen", "rejected"))
    else:
        split = _shared(
            _conversation(values, job.columns["chosen"]), _conversation(values, job.columns["rejected"])
        )
        if split is None:
            job.skipped[PARTED] += 1
            return
        chat, chosen, rejected = split
    if not chat or not chat[-1]["content"].strip():
        job.skipped["the prompt is empty"] += 1
        return
    winner_policy = job.name(values, "chosen_policy", job.options.policy)
    loser_policy = job.name(values, "rejected_policy", job.options.policy)
    if (chosen, winner_policy) == (rejected, loser_policy):
        job.skipped["chosen and rejected are the same"] += 1
        return
    prompt = job.staging.prompt(chat, source=job.name(values, "source", "") or None)
    winner = job.staging.response(prompt, winner_policy, chosen)
    loser = job.staging.response(prompt, loser_policy, rejected)
    annotator = job.name(values, "annotator", job.options.annotator)
    job.staging.judgement(prompt, annotator, "pair", [Verdict(winner, 1), Verdict(loser, 2)])


def _answer(values: Mapping[str, Any], column: str) -> str:
    """Plain text, or the content of one message of the assistant."""
    value = values.get(column)
    if isinstance(value, str) and looks_like_messages(value) is None:
        return text_of(values, column)
    chat = chat_of(values, column)
    if len(chat) != 1 or chat[0]["role"] != "assistant":
        raise RowError(f'"{column}" holds {len(chat)} messages where one of the assistant is expected')
    return chat[0]["content"]


def _conversation(values: Mapping[str, Any], column: str) -> Chat:
    """A whole conversation: messages, or a transcript."""
    value = values.get(column)
    if not isinstance(value, str) or looks_like_messages(value) is not None:
        return chat_of(values, column)
    text = text_of(values, column)
    turns = TURN.split(text)
    if len(turns) < 3 or turns[0].strip():
        raise RowError(
            f'"{column}" is no transcript (Human: … Assistant: …) and there is no column "prompt" beside it'
        )
    roles = {"Human": "user", "Assistant": "assistant"}
    said = zip(turns[1::2], turns[2::2], strict=True)
    return [{"role": roles[who], "content": what.strip()} for who, what in said]


def _shared(chosen: Chat, rejected: Chat) -> tuple[Chat, str, str] | None:
    """The turns before the answers, and the two answers; None where the user's turns differ.

    An answer is everything that the assistant says after the last turn of the user, several turns of it
    included.
    """
    common = 0
    while common < min(len(chosen), len(rejected)) and chosen[common] == rejected[common]:
        common += 1
    while common and chosen[common - 1]["role"] != "user":
        common -= 1
    answers = chosen[common:], rejected[common:]
    if (
        not common
        or not all(answers)
        or any(turn["role"] != "assistant" for turns in answers for turn in turns)
    ):
        return None
    first, second = ("\n\n".join(turn["content"] for turn in turns) for turns in answers)
    return chosen[:common], first, second


PAIRS = Shape(
    "pairs",
    needs=(("chosen", "rejected"),),
    may=("prompt", "annotator", "chosen_policy", "rejected_policy", "source"),
    take=take,
)
