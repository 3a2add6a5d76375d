"""Small choices that go with a store, such as the order in which prompts are judged."""

from __future__ import annotations

from storage.sql import block
from storage.store import Store

PACKAGE = "package"
"""The key under which an annotator's package says whose it is."""


def get(store: Store, key: str, default: str = "") -> str:
    """The value kept under `key`, or the default."""
    row = store.row(block("store", "remembered"), {"key": key})
    return default if row is None or row[0] is None else str(row[0])


def put(store: Store, key: str, value: str) -> None:
    """Keep a value under `key`, instead of what was there."""
    store.write(block("store", "remember"), {"key": key, "value": value})
