"""What every reader gives and every shape takes: numbered rows, and sentences about what is wrong in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import ImportFileError
from storage.ids import Chat
from storage.interchange.clean import clean_text

LONGEST_ROW = 64 * 2**20  # bytes; a longer line is not a row of prompts and responses
CHAT_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}


@dataclass(frozen=True, slots=True)
class Row:
    number: int  # from 1, as a person counts rows of data
    values: Mapping[str, Any]
    share: float  # of the file that has been read, 0 … 1


@dataclass(frozen=True)
class Table:
    """An open file: its columns, as the first row or the header has them, and its rows, read one by one."""

    path: Path
    columns: tuple[str, ...]
    rows: Iterator[Row]
    word: str  # what one row is called: line, row


class RowError(Exception):
    """What is wrong in a row; the importer adds file and number."""


def wrong(path: Path, sentence: str) -> ImportFileError:
    return ImportFileError(f"{path.name}: {sentence}; nothing was imported.")


def kind_of(value: object) -> str:
    """What a value is, in a person's words."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"{str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"


def text_of(values: Mapping[str, Any], column: str) -> str:
    """Clean text of a column; RowError when it is something else."""
    value = values.get(column)
    if not isinstance(value, str):
        raise RowError(f'"{column}" is {kind_of(value)} where text is expected')
    return clean_text(value)


def integer_of(values: Mapping[str, Any], column: str) -> int | None:
    """A whole number (text of one too, as in CSV) or None when empty."""
    value = values.get(column)
    if value is None or value == "":
        return None
    number = _number(value)
    if number is None or number != int(number):
        raise RowError(f'"{column}" is {_shown(value)} where a whole number is expected')
    return int(number)


def number_of(values: Mapping[str, Any], column: str) -> float | None:
    """A finite number (text of one too) or None when empty."""
    value = values.get(column)
    if value is None or value == "":
        return None
    number = _number(value)
    if number is None:
        raise RowError(f'"{column}" is {_shown(value)} where a number is expected')
    return number


def list_of(values: Mapping[str, Any], column: str) -> list[Any]:
    """A list, or JSON text of one."""
    value = values.get(column)
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            raise RowError(f'"{column}" starts as a JSON list and does not end as one') from None
    if not isinstance(value, list):
        raise RowError(f'"{column}" is {kind_of(value)} where a list is expected')
    return value


def chat_of(values: Mapping[str, Any], column: str) -> Chat:
    """A conversation.  Plain text is one turn of the user; messages may be a list or JSON text of one."""
    value = values.get(column)
    if isinstance(value, str):
        messages = looks_like_messages(value)
        if messages is None:
            return [{"role": "user", "content": clean_text(value)}]
        value = messages
    if not isinstance(value, list):
        raise RowError(f'"{column}" is {kind_of(value)} where text or a list of messages is expected')
    return [_message(m, column) for m in value]


def looks_like_messages(text: str) -> list[Any] | None:
    """The messages, when `text` is JSON of a list of messages; CSV and Parquet carry conversations so."""
    if not (text.startswith("[{") and '"role"' in text):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(value, list) and all(
        isinstance(m, dict) and {"role", "content"} <= set(m) for m in value
    )
    return value if fits else None


def _message(message: object, column: str) -> dict[str, str]:
    if not isinstance(message, dict):
        raise RowError(
            f'"{column}" holds {kind_of(message)} where a message with role and content is expected'
        )
    role, content = message.get("role", message.get("from")), message.get("content", message.get("value"))
    if not isinstance(role, str) or role not in CHAT_ROLES:
        raise RowError(
            f'"{column}" holds a message of role {_shown(role)}; roles are system, user, assistant'
        )
    if not isinstance(content, str):
        raise RowError(
            f'"{column}" holds a message whose content is {kind_of(content)} where text is expected'
        )
    return {"role": CHAT_ROLES[role], "content": clean_text(content)}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _shown(value: object) -> str:
    return f'"{clean_text(value)[:40]}"' if isinstance(value, str) else kind_of(value)


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
