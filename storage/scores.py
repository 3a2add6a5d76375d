"""Scores: what reward models think of responses."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from storage.parquet import ALL_ROWS, Span, rows_of
from storage.records import NewScore, UnscoredResponse
from storage.sql import block
from storage.store import Store

COLUMNS = ("response_id", "reward_model_id", "score", "backend", "run_id", "criterion", "uncertainty", "cut")


def upsert(store: Store, scores: Iterable[NewScore]) -> int:
    """Store scores in one transaction; scoring again with the same model, backend and
    criterion replaces.
    """
    values = [
        (s.response_id, s.reward_model_id, s.score, s.backend, s.run_id, s.criterion, s.uncertainty, s.cut)
        for s in scores
    ]
    # Of a response scored twice in one call the last score counts, as it does one by one.
    latest = {(row[0], row[1], row[3], row[5]): row for row in values}
    store.write_many(block("scores", "load"), COLUMNS, list(latest.values()))
    return len(values)


def insert_from_parquet(
    store: Store, path: Path, *, run_id: str, reward_model_id: str, rows: Span = ALL_ROWS
) -> int:
    """Ingest what a score job wrote; the number of finite scores."""
    return store.write(
        block("scores", "ingest"),
        {**rows_of(path, rows), "run_id": run_id, "reward_model_id": reward_model_id},
    )


def unscored(
    store: Store,
    reward_model_id: str,
    backend: str,
    *,
    after: tuple[str, str] = ("", ""),
    limit: int = 256,
) -> list[UnscoredResponse]:
    """Responses without a score of this model and backend, prompt by prompt.

    `after` is prompt and response of the last row of the page before.
    """
    return store.records(
        UnscoredResponse,
        block("scores", "unscored"),
        {
            "reward_model_id": reward_model_id,
            "backend": backend,
            "after_prompt": after[0],
            "after_response": after[1],
            "limit": limit,
        },
    )


def count_unscored(store: Store, reward_model_id: str, backend: str) -> int:
    """Responses without a score of this reward model by this backend."""
    row = store.row(
        block("scores", "count_unscored"), {"reward_model_id": reward_model_id, "backend": backend}
    )
    return int(row[0]) if row else 0
