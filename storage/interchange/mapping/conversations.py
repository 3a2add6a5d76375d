"""Values as conversations: text, one message, lists of messages in every common spelling, lists of turns.

A message of the store has a role (system, user, assistant, tool) and text; calls of tools and the id that an
answer of a tool refers to are kept beside them, because chat templates that know tools read them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from storage.ids import KEPT_WITH_MESSAGE, Chat
from storage.interchange.clean import clean_text
from storage.interchange.mapping.cells import RowError, cleaned, kind_of, parsed
from storage.interchange.mapping.transcripts import ROLE_WORDS, transcript_of
from storage.prompts import shown_turn

ROLES = {
    **ROLE_WORDS,
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "tool_result": "tool",
    "function_response": "tool",
    "function_call": "assistant",
    "tool_call": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "claude": "assistant",
    "agent": "assistant",
    "llm": "assistant",
    "user_1": "user",
}
ROLE_KEYS = ("role", "from", "speaker", "author", "sender")
TEXT_KEYS = ("content", "value", "text", "message", "utterance")
INNER_KEYS = ("messages", "conversations", "conversation", "turns", "dialogue")
TURN_KEYS = (
    ("user", "assistant"),
    ("human", "assistant"),
    ("human", "gpt"),
    ("prompt", "response"),
    ("instruction", "output"),
)


def is_message(value: object) -> bool:
    """Whether a value is one turn: an object with a role and a text, tool calls or parts."""
    return (
        isinstance(value, dict)
        and "replies" not in value
        and _has_role(value)
        and (any(k in value for k in TEXT_KEYS) or "tool_calls" in value or "parts" in value)
    )


def _has_role(value: dict[str, Any]) -> bool:
    """`role` or `from`; who is named as author, sender or speaker may be anybody, unless it is a role."""
    if "role" in value or "from" in value:
        return True
    named = next((value[k] for k in ROLE_KEYS if k in value), None)
    role = named.get("role") if isinstance(named, dict) else named
    return isinstance(role, str) and role.strip().lower() in ROLES


def messages_in(value: object) -> list[Any] | None:
    """The messages that a value holds as a structure, not as a transcript; None for anything else."""
    if isinstance(value, str):
        if value[:1] not in "[{" or value[-1:] not in "]}\n ":
            return None
        value = parsed(value)
    if isinstance(value, dict):
        for key in INNER_KEYS:
            if isinstance(value.get(key), list):
                return messages_in(value[key])
        return [value] if is_message(value) else None
    if isinstance(value, list) and value and all(is_message(m) for m in value):
        return value
    return None


def message_of(message: dict[str, Any], dropped: Counter[str]) -> dict[str, Any]:
    """One message in the store's form.  Raises RowError for a role that nobody knows."""
    role = next((message[k] for k in ROLE_KEYS if message.get(k) is not None), None)
    if isinstance(role, dict):
        role = role.get("role")
    known = ROLES.get(role.strip().lower()) if isinstance(role, str) else None
    if known is None:
        raise RowError(
            f"a message has the role {clean_text(str(role))[:30]!r}; roles are system, user, assistant and"
            " tool"
        )
    content = next((message[k] for k in TEXT_KEYS if message.get(k) is not None), message.get("parts"))
    made: dict[str, Any] = {"role": known, "content": content_text(content, dropped)}
    if len(message) > 2 or not made["content"]:
        for key, value in message.items():
            if value is None or value == [] or key in ROLE_KEYS or key in TEXT_KEYS or key == "parts":
                continue
            if key in KEPT_WITH_MESSAGE:
                made[key] = cleaned(value)
            else:
                dropped[f'"{clean_text(key)[:30]}" of messages'] += 1
    return made


def content_text(content: object, dropped: Counter[str]) -> str:
    """Text, or the texts of a list of parts; what is no text is named in its place."""
    if isinstance(content, str):
        return clean_text(content)
    if content is None:
        return ""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise RowError(f"the content of a message is {kind_of(content)} where text is expected")
    return "\n".join(part for part in (_part(part, dropped) for part in content) if part)


def system_text(value: object, dropped: Counter[str]) -> str:
    """What the system says in a message, in messages, in parts, or in a list of texts."""
    messages = messages_in(value)
    if messages is None:
        return content_text(value, dropped)
    return "\n\n".join(str(message_of(message, dropped)["content"]) for message in messages)


def _part(part: object, dropped: Counter[str]) -> str:
    if isinstance(part, str):
        return clean_text(part)
    if isinstance(part, dict):
        text = part.get("text", part.get("content"))
        if isinstance(text, str):
            return clean_text(text)
        kind = clean_text(str(part.get("type", "object")))[:30]
        if kind in ("text", "output_text") and text is None:
            return ""
        dropped[f"parts of messages of type {kind}"] += 1
        return f"[{kind}]"
    raise RowError(f"a part of a message is {kind_of(part)} where text is expected")


def chat_of(value: object, dropped: Counter[str], form: str | None = None) -> Chat | None:
    """A whole conversation, or None where the value is plain text.  Raises RowError."""
    if form == "text":
        return None
    messages = messages_in(value)
    if messages is not None:
        return [message_of(m, dropped) for m in messages]
    if isinstance(value, str):
        return transcript_of(clean_text(value)) if form != "messages" else None
    if isinstance(value, list):
        return _turns(value, dropped)
    return None


def end_with_assistant(values: Sequence[Any]) -> bool:
    """Whether most of these conversations end with an answer."""
    try:
        chats = [chat_of(value, Counter()) for value in values]
    except RowError:
        return False
    ends = [chat[-1]["role"] == "assistant" for chat in chats if chat]
    return bool(ends) and sum(ends) > len(ends) / 2


def are_turns(value: list[Any]) -> bool:
    """`[{"user": …, "assistant": …}, …]`: objects of what both say in turn, and of nothing else."""
    return any(
        all(set(turn) <= {user, assistant} and isinstance(turn.get(user), str) for turn in value)
        for user, assistant in TURN_KEYS
    )


def _turns(value: list[Any], dropped: Counter[str]) -> Chat | None:
    """Lists of texts are turns of user and assistant; so are lists of pairs, and of objects with both."""
    if not value:
        return None
    if all(isinstance(turn, str) for turn in value):
        return [
            {"role": ("user", "assistant")[n % 2], "content": clean_text(turn)}
            for n, turn in enumerate(value)
        ]
    if (
        all(isinstance(turn, list) and all(isinstance(m, dict) for m in turn) for turn in value)
        and len(value) == 1
    ):
        return chat_of(value[0], dropped)
    if all(
        isinstance(turn, list | tuple) and len(turn) == 2 and all(isinstance(t, str) for t in turn)
        for turn in value
    ):
        return alternate([t[0] for t in value], [t[1] for t in value])
    for user, assistant in TURN_KEYS:
        if all(isinstance(turn, dict) and isinstance(turn.get(user), str) for turn in value):
            return alternate([t[user] for t in value], [t.get(assistant) for t in value])
    return None


def alternate(asked: Sequence[Any], answered: Sequence[Any]) -> Chat:
    """The turns of the user and of the assistant in turn; an answer that is missing is left out."""
    chat: Chat = []
    for n, question in enumerate(asked):
        if question is not None:
            chat.append({"role": "user", "content": clean_text(str(question))})
        if n < len(answered) and answered[n] is not None:
            chat.append({"role": "assistant", "content": clean_text(str(answered[n]))})
    return chat


def answer_text(turns: Chat) -> str:
    """What the assistant says after a prompt: one turn, or several as they follow each other.

    Turns of others among them are labelled, so that nothing of the conversation is lost.
    """
    if len(turns) == 1 and len(turns[0]) == 2:
        return str(turns[0]["content"])
    if all(turn["role"] == "assistant" and len(turn) == 2 for turn in turns):
        return "\n\n".join(turn["content"] for turn in turns)
    return "\n\n".join(
        (
            shown_turn(turn)
            if n == 0 and turn["role"] == "assistant"
            else f"{turn['role'].capitalize()}: {shown_turn(turn)}"
        )
        for n, turn in enumerate(turns)
    )


def shared_start(chats: Sequence[Chat]) -> Chat:
    """The turns that all conversations share, up to a turn that an assistant can answer."""
    common = 0
    while common < min(map(len, chats)) and all(chat[common] == chats[0][common] for chat in chats):
        common += 1
    if all(len(chat) == common for chat in chats):  # all alike: the last answer is the response
        common = max((n for n, turn in enumerate(chats[0]) if turn["role"] != "assistant"), default=-1) + 1
    while common and chats[0][common - 1]["role"] not in ("user", "tool"):
        common -= 1
    return chats[0][:common]
