"""Flash cards: a question, a line of dashes, an answer; a blank line between cards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from storage.interchange.formats.columns import Row
from storage.interchange.formats.format import Format
from storage.interchange.formats.leaving import Leaving


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a `.cards` file; what the columns mean is guessed, or said with --column."""
    for card in path.read_text(encoding="utf-8").split("\n\n"):
        question, dashes, answer = card.partition("\n--\n")
        if not dashes:
            raise ValueError(f"the card “{question[:20]}” has no line of two dashes")
        yield {"prompt": question.strip(), "response": answer.strip()}


def _rows(leaving: Leaving) -> Iterator[Row]:
    for row in leaving.rows("compared"):
        yield {"front": row["chat"][-1]["content"], "back": row["chosen"]}


CARDS = Format(
    name="cards",
    about="Flash cards: a question and the better answer",
    what="pairs",
    source="https://example.org/cards",
    columns=lambda leaving: {"front": "text", "back": "text"},
    rows=_rows,
    reading=("prompt=front", "response=back"),
)
