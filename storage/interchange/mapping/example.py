"""What one row of a file says, in the store's words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from storage.ids import Chat


@dataclass(slots=True)
class Answer:
    """One response."""

    text: str
    policy: str
    metadata: dict[str, Any] | None = None
    steps: list[tuple[str, float | None]] | None = (
        None  # of a solution: text, label (1 right, 0 wrong, or a rating)
    )


@dataclass(slots=True)
class Judged:
    """One annotator's verdict.  `items`: place of the response in the example, rank, rating."""

    annotator: str
    criterion: str
    kind: str  # pair, ranking, rating, best_of
    items: list[tuple[int, float | None, float | None]]
    strength: float | None = None
    note: str | None = None
    seconds: float | None = None
    metadata: dict[str, Any] | None = None
    group: str | None = None  # set: rows that share it are one judgement


@dataclass(slots=True)
class Example:
    """A prompt with the responses and judgements of one row."""

    chat: Chat
    answers: list[Answer] = field(default_factory=list)
    judgements: list[Judged] = field(default_factory=list)
    id: str | None = None
    reference: str | None = None
    source: str | None = None
    split: str | None = None
    subset: str | None = None
    metadata: dict[str, Any] | None = None
