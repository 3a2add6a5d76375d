"""Prompt and answers of one row: texts, messages and whole conversations, as one prompt and its answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from storage.ids import Chat
from storage.interchange.clean import clean_text
from storage.interchange.mapping.cells import NothingNewError, RowError, kind_of, name_of, number_of, parsed
from storage.interchange.mapping.conversations import (
    alternate,
    answer_text,
    chat_of,
    messages_in,
    shared_start,
)
from storage.interchange.mapping.transcripts import transcript_of

PARTED = "the conversations part before the last answer"
LATER = "later turns of a conversation stand in the response's text"
TEXTS = ("text", "response", "content", "answer", "completion", "output", "value", "generated_text")

ENDS = re.compile(r"(?:\s*(?:</s>|<\|im_end\|>|<\|eot_id\|>|<end_of_turn>|<\|end\|>|<\|endoftext\|>))+\s*$")
TEMPLATED = ("<s>", "[INST]", "<|", "<bos>", "<start_of_turn>")
GAPS = frozenset(("None", "none", "NULL", "Null", "null"))  # can be answers, and mostly are gaps of a table


@dataclass(slots=True)
class Asked:
    """A prompt as it stands in the row; `raw` is what answers may repeat, or None."""

    chat: Chat | None
    raw: Any = None


def ask(value: Any, dropped: Counter[str], form: str | None, column: str) -> Asked:
    """The conversation of a prompt's value.  Raises RowError where it is neither text nor messages."""
    if form == "turns":
        turns = turns_of(value, column)
        return Asked([{"role": "user", "content": clean_text(str(turns[0] or ""))}], turns)
    if isinstance(value, str) and (form == "text" or value[:1] not in "[{<#HUSB \n\t"):
        return Asked([{"role": "user", "content": clean_text(value)}], value)
    chat = chat_of(value, dropped, form)
    if chat is not None:
        return Asked(chat, value)
    if isinstance(value, str):
        return Asked([{"role": "user", "content": clean_text(value)}], value)
    text = _text_in(value)
    if text is not None:
        return Asked([{"role": "user", "content": text}], text)
    if isinstance(value, int | float) and not isinstance(value, bool) and number_of(value) is not None:
        return Asked([{"role": "user", "content": name_of(value) or ""}], None)
    raise RowError(f'"{column}" is {kind_of(value)} where text or a list of messages is expected')


def answers_of(
    asked: Asked,
    values: Sequence[Any],
    columns: Sequence[str],
    dropped: Counter[str],
    forms: Sequence[str | None],
) -> tuple[Chat, list[str]]:
    """The prompt that all answers share, and their texts; counts those that are mostly gaps of a table.

    Raises RowError.
    """
    chat, texts = _answers_of(asked, values, columns, dropped, forms)
    if isinstance(asked.raw, str) and asked.raw.lstrip().startswith(TEMPLATED):
        texts = [_without_end(text, dropped) for text in texts]
    for text in texts:
        if text in GAPS or not text.strip():
            said = f"“{text}”" if text.strip() else "empty"
            dropped[f"responses that are {said}, kept as such"] += 1
    return chat, texts


def _without_end(text: str, dropped: Counter[str]) -> str:
    end = ENDS.search(text)
    if end is None or not end[0].strip():
        return text
    dropped["responses whose template's end marker is cut off"] += 1
    return text[: end.start()]


def _answers_of(
    asked: Asked,
    values: Sequence[Any],
    columns: Sequence[str],
    dropped: Counter[str],
    forms: Sequence[str | None],
) -> tuple[Chat, list[str]]:
    if "turns" in forms and isinstance(asked.raw, list):
        conversations = [alternate(asked.raw, turns_of(v, c)) for v, c in zip(values, columns, strict=True)]
        return _part(Asked(None), conversations, dropped)
    if (
        all(isinstance(v, str) and (v[:1] not in "[{" or messages_in(v) is None) for v in values)
        and asked.chat
    ):
        if not any(forms):
            return asked.chat, [clean_text(v) for v in values]
        return _plain_texts(asked, values, dropped, forms)
    chats = [_conversation(asked, v, c, dropped, f) for v, c, f in zip(values, columns, forms, strict=True)]
    if asked.chat is not None and all(isinstance(c, str) or len(c) == 1 for c in chats):
        return asked.chat, [c if isinstance(c, str) else _only(c, dropped) for c in chats]
    whole = [c for c in chats if not isinstance(c, str)]
    if len(whole) < len(chats):
        if asked.chat is None and whole:  # a whole conversation beside the bare text of another answer
            asked = Asked(shared_start(whole))
        if not asked.chat:
            raise RowError(f'"{columns[0]}" is not a conversation and there is no prompt beside it')
        return asked.chat, [c if isinstance(c, str) else _after(asked.chat, c, dropped) for c in chats]
    return _part(asked, whole, dropped)


def _plain_texts(
    asked: Asked,
    values: Sequence[str],
    dropped: Counter[str],
    forms: Sequence[str | None],
) -> tuple[Chat, list[str]]:
    texts: list[str] = []
    chats: list[Chat] = []
    for value, form in zip(values, forms, strict=True):
        text = clean_text(value)
        if form == "transcript" and (chat := transcript_of(text)) is not None:
            chats.append(chat)
        elif form == "after_prompt" and isinstance(asked.raw, str):
            before = clean_text(asked.raw).rstrip()
            if not text.startswith(before):
                dropped["responses that do not repeat their prompt, kept whole"] += 1
            texts.append(text[len(before) :].lstrip() if text.startswith(before) else text)
        else:
            texts.append(text)
    if chats and not texts:
        return _part(asked, chats, dropped)
    if chats:
        raise RowError("one answer is a transcript and the other is not")
    assert asked.chat is not None
    return asked.chat, texts


def _conversation(
    asked: Asked, value: Any, column: str, dropped: Counter[str], form: str | None
) -> Chat | str:
    """A conversation, or text.  Lists of texts beside a prompt that is one too are turns of both."""
    if (
        isinstance(value, str)
        and messages_in(value) is None
        and (asked.chat is not None and form != "transcript")
    ):
        return clean_text(value)
    chat = chat_of(value, dropped, form)
    if chat is not None:
        return chat
    if isinstance(value, str):
        return clean_text(value)
    text = _text_in(value)
    if text is None and isinstance(value, int | float) and not isinstance(value, bool):
        text = name_of(value)
    if text is None:
        raise RowError(f'"{column}" is {kind_of(value)} where text or messages are expected')
    return text


def said_in(turns: Chat, dropped: Counter[str]) -> str:
    """`answer_text`; what the assistant thought and did not say is counted."""
    for turn in turns:
        if turn.get("reasoning_content") or turn.get("thinking"):
            dropped["answers whose thoughts beside the text are not kept"] += 1
    for turn, after in pairwise(turns):
        if turn["role"] == after["role"] == "assistant" and not turn.get("tool_calls"):
            dropped["answers of several messages in a row, joined; they may be rivals"] += 1
            break
    return answer_text(turns)


def turns_of(value: Any, column: str) -> list[Any]:
    """A list of turns of one speaker, as a list or as JSON text."""
    turns = parsed(value) if isinstance(value, str) else value
    if isinstance(turns, list) and turns and all(isinstance(v, str) or v is None for v in turns):
        return turns
    if isinstance(turns, str) or (isinstance(value, str) and turns is None):
        return [value]
    raise RowError(f'"{column}" is not a list of turns')


def _text_in(value: Any) -> str | None:
    """The text of an object that holds one, or of a list of one text."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
        if isinstance(value, str):
            return clean_text(value)
    if isinstance(value, dict):
        for key in TEXTS:
            if isinstance(value.get(key), str):
                return clean_text(value[key])
    return None


def _only(chat: Chat, dropped: Counter[str]) -> str:
    if chat[0]["role"] != "assistant":
        raise RowError(f"an answer is a message of the {chat[0]['role']}, not of the assistant")
    return said_in(chat, dropped)


def _after(prompt: Chat, chat: Chat, dropped: Counter[str]) -> str:
    """The answer at the end of a conversation whose other answers are plain text."""
    if len(chat) == 1:
        return _only(chat, dropped)
    rest = (
        chat[len(prompt) :]
        if chat[: len(prompt)] == prompt
        else [turn for turn in chat[-1:] if turn["role"] == "assistant"]
    )
    if not rest:
        raise RowError("a conversation does not end with the assistant")
    return said_in(rest, dropped)


def _part(asked: Asked, chats: list[Chat], dropped: Counter[str]) -> tuple[Chat, list[str]]:
    """Whole conversations: what they share is the prompt."""
    if asked.chat is not None:
        chats = [_joined(asked.chat, chat) for chat in chats]
    start = shared_start(chats)
    # one that ends where the others' answer begins has an empty answer, as in HH's transcripts
    longer = [chat for chat in chats if len(chat) > len(start)]
    if not start or not longer or any(chat[len(start)]["role"] != "assistant" for chat in longer):
        raise NothingNewError(PARTED)
    rests = [chat[len(start) :] for chat in chats]
    if any(turn["role"] != "assistant" for rest in rests for turn in rest):
        dropped[LATER] += 1
    return start, [said_in(rest, dropped) for rest in rests]


def _joined(prompt: Chat, chat: Chat) -> Chat:
    """A conversation with the prompt before it, where it does not begin with it already."""
    if chat[0]["role"] == "assistant" and all(turn["role"] in ("assistant", "tool") for turn in chat):
        return [*prompt, *chat]  # calls of tools and their answers among them
    system = [turn for turn in prompt if turn["role"] == "system"]
    bare = [turn for turn in prompt if turn["role"] != "system"]
    said = {_bare(turn) for turn in chat}
    if bare and _bare(bare[-1]) not in said:
        raise RowError("the prompt and the conversation beside it differ")
    return [*system, *chat] if system and chat[0]["role"] != "system" else chat


def _bare(turn: dict[str, Any]) -> str:
    return str(turn["content"]).strip()
