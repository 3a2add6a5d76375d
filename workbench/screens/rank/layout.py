"""Where the responses of an item stand on the screen, and how much of it the prompt has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

View = Literal["auto", "columns", "rows", "one"]
VIEWS: dict[View, str] = {
    "auto": "as they fit",
    "columns": "side by side",
    "rows": "one under the other",
    "one": "one at a time",
}
LEAST_COLUMN, LEAST_ROWS = 36, 9
"""Cells that a response beside others needs."""
LEAST_CARD = 5
"""Rows, with its border, that an open response has at the least."""
LEAST_PROMPT = 3


def columns_in(view: View, responses: int, width: int, height: int) -> int:
    """How many responses stand side by side; 0: one open at a time, the others as lines."""
    if responses <= 1:
        return 1
    if view == "columns":
        return responses
    if view == "rows":
        return 1
    return 0 if view == "one" else columns_for(responses, width, height)


def prompt_rows(room: int, wanted: int, cards: int, most: int) -> int:
    """Rows of the prompt, border and all, of the `room` that it shares with the responses.

    wanted: rows that show all of it.  cards: rows that show all of the responses.  Rows that the responses do
    not need are the prompt's; where both want more than there is, it has `most`.
    """
    spare = room - cards
    return max(LEAST_PROMPT, min(wanted, max(spare, min(most, room - LEAST_CARD))))


def card_rows(texts: Sequence[int], columns: int) -> int:
    """Rows that show all of responses of so many lines each, borders and all; `columns` as `columns_in`."""
    if not texts:
        return 0
    if columns == 0:
        return max(texts) + 2 + len(texts) - 1
    rows = [texts[start : start + columns] for start in range(0, len(texts), columns)]
    return len(rows) * (max(max(row) for row in rows) + 2)


def columns_for(responses: int, width: int, height: int) -> int:
    """How many responses stand side by side in `width` × `height` cells; 0: one open at a time.

    Side by side needs `LEAST_COLUMN` columns for each and `LEAST_ROWS` lines a row.
    """
    for rows in range(1, responses + 1):
        columns = -(-responses // rows)
        if columns == 1 and responses > 1:
            break
        if columns * LEAST_COLUMN <= width and rows * LEAST_ROWS <= height:
            return columns
    return 0 if responses > 1 else 1
