"""Identifiers: one letter for the kind of thing and 16 hexadecimal digits.

What comes from outside is identified by its content, so that importing or ingesting it twice adds nothing.
The parts of a key are joined by the unit separator, which cleaned text cannot hold.  `content_id` and the
SQL `substr(sha256(a || chr(31) || b), 1, 16)` give the same digits.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

_json_string = json.JSONEncoder(ensure_ascii=False).encode
SEPARATOR = "\x1f"
Chat = list[dict[str, Any]]
# What a message may hold beside role and content; chat templates that know tools read it.
KEPT_WITH_MESSAGE = ("name", "tool_calls", "tool_call_id", "function_call", "reasoning_content", "thinking")


def content_id(letter: str, *parts: str) -> str:
    """`letter` + the first 16 hexadecimal digits of SHA-256 over the joined parts."""
    return letter + hashlib.sha256(SEPARATOR.join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def random_id(letter: str) -> str:
    """An identifier that nothing else has."""
    return letter + secrets.token_hex(8)


def canonical_messages(messages: Chat) -> str:
    """The one JSON text of a conversation: role, content and what belongs to tools, in this order."""
    if len(messages) == 1 and len(messages[0]) == 2 and messages[0]["role"] == "user":
        return f'[{{"role":"user","content":{_json_string(messages[0]["content"])}}}]'
    return json.dumps(
        [
            {"role": m["role"], "content": m["content"]}
            | ({key: m[key] for key in KEPT_WITH_MESSAGE if m.get(key)} if len(m) > 2 else {})
            for m in messages
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def prompt_id(canonical: str) -> str:
    """Of its canonical JSON: the same conversation is one prompt, whoever brings it."""
    return content_id("p", canonical)


def policy_id(name: str) -> str:
    """Of its name."""
    return content_id("y", name)


def annotator_id(name: str) -> str:
    """Of their name."""
    return content_id("a", name)


def imported_response_id(prompt: str, policy: str, text: str) -> str:
    """`prompt` and `policy` are ids."""
    return content_id("r", prompt, policy, text)


def artifact_id(run: str, kind: str, name: str, step: int | None) -> str:
    """Of run, kind, name and step: an event that is read twice makes one artifact."""
    return content_id("f", run, kind, name, "" if step is None else str(step))
