"""Numbers in sentences; `engine.wording` is the same for the rooms that do not know the store."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 row`, `1,234 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
