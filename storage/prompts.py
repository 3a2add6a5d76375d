"""Prompts: what responses are made for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from storage.errors import NotFoundError
from storage.ids import Chat, canonical_messages, prompt_id
from storage.records import Counts, Overview, PromptRow
from storage.sql import block
from storage.store import Store


def listed(
    store: Store, search: str = "", *, limit: int = 500, offset: int = 0, after: str | None = None
) -> list[PromptRow]:
    """Prompts oldest first, with how many responses and standing judgements each has.

    `search` is found anywhere in text or source, in any case.  With `after`, a prompt's id, those behind it:
    rows that stand before it need not be sorted.
    """
    values = {"search": search, "limit": limit, "offset": offset, "after": after}
    return store.records(PromptRow, block("prompts", "list"), values)


def count(store: Store, search: str = "") -> int:
    """Prompts whose text or source holds `search`, upper and lower case alike."""
    row = store.row(block("prompts", "count"), {"search": search})
    return int(row[0]) if row else 0


def texts(store: Store, prompt_ids: Sequence[str]) -> dict[str, str]:
    """What a person reads of some prompts, by id."""
    return dict(store.rows(block("prompts", "texts"), {"prompt_ids": list(prompt_ids)}))


def messages(store: Store, prompt: str) -> Chat:
    """The conversation that a response continues."""
    row = store.row(block("prompts", "messages"), {"prompt_id": prompt})
    if row is None:
        raise NotFoundError(f"There is no prompt {prompt}.")
    chat: Chat = json.loads(row[0])
    return chat


def shown_text(chat: Chat) -> str:
    """What a person reads: the user's turn, or the transcript where there were several turns."""
    turns = [m for m in chat if m["role"] != "system"]
    if len(turns) == 1:
        return turns[0]["content"]
    return "\n\n".join(f"{m['role'].capitalize()}: {shown_turn(m)}" for m in turns)


def shown_turn(turn: Mapping[str, Any]) -> str:
    """A turn's text with the calls of tools that belong to it."""
    calls = turn.get("tool_calls") or ([turn["function_call"]] if turn.get("function_call") else [])
    said = [turn["content"]] if turn["content"] else []
    return "\n".join([*said, *map(_shown_call, calls)])


def _shown_call(call: Any) -> str:
    function = call.get("function", call) if isinstance(call, dict) else call
    if isinstance(function, dict) and isinstance(function.get("name"), str):
        arguments = function.get("arguments", "")
        said = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        return f"[calls {function['name']}({said})]"
    return f"[calls {json.dumps(call, ensure_ascii=False, default=str)}]"


def add(
    store: Store, chat: Chat, *, source: str | None = None, metadata: Mapping[str, Any] | None = None
) -> str:
    """Store one prompt, unless it is there already; its id.  The text must be clean (`clean_text`)."""
    canonical = canonical_messages(chat)
    values = {
        "prompt_id": prompt_id(canonical),
        "text": shown_text(chat),
        "messages": canonical,
        "source": source,
        "metadata": json.dumps(metadata, ensure_ascii=False) if metadata else None,
    }
    store.write(block("prompts", "add"), values)
    return str(values["prompt_id"])


def add_many(store: Store, chats: Iterable[Chat], *, source: str | None = None) -> list[str]:
    """Store prompts in one transaction; their ids, in order."""
    with store.transaction():
        return [add(store, chat, source=source) for chat in chats]


def sources(store: Store) -> list[tuple[str | None, int]]:
    """(source, number of prompts)."""
    return [(source, number) for source, number in store.rows(block("prompts", "sources"))]


def overview(store: Store) -> Overview:
    """How much of everything there is."""
    return store.records(Overview, block("prompts", "overview"))[0]


def counts(store: Store) -> Counts:
    """Prompts, responses and judgements alone, which is asked often."""
    return store.records(Counts, block("prompts", "counts"))[0]
