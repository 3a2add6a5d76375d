"""The store on its way out: prompts as the formats need them, who judged, and what a format cannot say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from storage.file.faults import told
from storage.ids import Chat
from storage.interchange.formats.columns import Columns
from storage.interchange.mapping.cells import parsed
from storage.interchange.mapping.conversations import messages_in
from storage.interchange.mapping.transcripts import transcript_of
from storage.sql import block
from storage.store import Store

BATCH = 1000  # rows
SEVERAL_TURNS = "prompts of several turns"
ABOUT = ("id", "reference", "source", "split", "subset")
HIDDEN = ("id", "source")  # tell where a row comes from
READ_ABOUT = tuple(f"{name}={name}" for name in ABOUT)
Values = dict[str, Any]


@dataclass
class Leaving:
    """One export.  `anonymous`: annotators become numbers; ids, sources and notes stay behind."""

    store: Store
    anonymous: bool = False
    left_out: Counter[str] = field(default_factory=Counter)  # what the format cannot say
    _people: dict[str, str] = field(default_factory=dict)

    def rows(self, name: str) -> Iterator[Values]:
        """The rows of a block of `queries/exports.sql`, by column, with the prompt under `chat`."""
        cursor = self.store.new_cursor()
        try:
            with told(self.store.path):
                cursor.execute(block("exports", name))
                columns = [column[0] for column in cursor.description or ()]
                while rows := cursor.fetchmany(BATCH):
                    for row in rows:
                        made = dict(zip(columns, row, strict=True))
                        made["chat"] = json.loads(made.pop("messages"))
                        yield made
        finally:
            cursor.close()

    def person(self, name: str) -> str:
        """The annotator's name, or a number in the order of appearance."""
        if not self.anonymous:
            return name
        return self._people.setdefault(name, f"annotator {len(self._people) + 1}")

    @cached_property
    def about_columns(self) -> Columns:
        """What any prompt has of id, reference, source, split and subset."""
        row = self.store.row(block("exports", "about"))
        held = [name for name, there in zip(ABOUT, row or (), strict=True) if there]
        return {name: "text" for name in held if not (self.anonymous and name in HIDDEN)}

    def about(self, row: Values) -> Values:
        """What is known of a row's prompt: the columns of `about_columns`."""
        return {name: row[name] for name in self.about_columns}

    @cached_property
    def spoken(self) -> bool:
        """Whether prompts have to be messages: one has several turns, or would be read as something else."""
        return any(not plain(row["chat"]) for row in self.rows("prompts"))

    def prompt(self, chat: Chat) -> Any:
        """A prompt as this file has prompts: messages, or the one turn's text."""
        return chat if self.spoken else chat[0]["content"]

    @cached_property
    def prompt_kind(self) -> str:
        """The kind of the column that holds prompts."""
        return "messages" if self.spoken else "text"

    def one_turn(self, row: Values) -> bool:
        """Whether the prompt is one turn of the user; else the row is counted as left out."""
        alone = single(row["chat"])
        self.left_out[SEVERAL_TURNS] += not alone
        return alone


def single(chat: Chat) -> bool:
    """Whether a conversation is one turn of the user and nothing else."""
    return len(chat) == 1 and chat[0]["role"] == "user" and len(chat[0]) == 2


def plain(chat: Chat) -> bool:
    """One turn of the user that nobody takes for a conversation."""
    return single(chat) and not ambiguous(chat[0]["content"])


def ambiguous(text: str) -> bool:
    """Plain text that a reader would take for a conversation, a list or an object."""
    return messages_in(text) is not None or transcript_of(text) is not None or parsed(text) is not None


def said(text: str) -> Chat:
    """A response as messages."""
    return [{"role": "assistant", "content": text}]


def number(value: float | None) -> float | int | None:
    """4.0 as 4, as people write ratings."""
    return int(value) if value is not None and value == int(value) else value
