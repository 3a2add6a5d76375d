"""Judges that are models: what their runs have written, in both orders of every pair."""

from __future__ import annotations

from pathlib import Path

from storage.parquet import ALL_ROWS, Span, rows_of
from storage.sql import block
from storage.store import Store

PARTS = ("annotators", "judgements", "items", "answers")


def insert_from_parquet(store: Store, path: Path, *, run_id: str, rows: Span = ALL_ROWS) -> int:
    """Ingest what a judge said: annotators of kind ai, pairs with their ranks, and the answer in each order.

    Rows that are there already are left, and those of responses that are not there (any more).  The number of
    answers added.
    """
    span = rows_of(path, rows)
    added = 0
    for part in PARTS:
        known = span if part == "annotators" else {**span, "run_id": run_id}
        added = store.write(block("judges", part), known)
    return added
