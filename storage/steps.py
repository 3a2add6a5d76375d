"""Steps of responses: what people say of them, and what process reward models do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storage.errors import NotFoundError, StoreError
from storage.ids import annotator_id, random_id
from storage.judgements import ensure_annotator
from storage.parquet import ALL_ROWS, Span, rows_of
from storage.sql import block
from storage.step_records import NewStepJudgement, StepJudgement, StepLabel, SteppedResponse, StepScore
from storage.store import Store


def record(store: Store, new: NewStepJudgement) -> str:
    """Store what an annotator says of the steps of a response; its id.  On disk when this returns.

    It stands in the place of what the annotator said of them before; without labels it takes that back.
    """
    if len(new.labels) != len(new.ends):
        raise StoreError(f"Each step needs a label; steps: {len(new.ends)}, labels: {len(new.labels)}.")
    with store.transaction():
        values: dict[str, Any] = {
            "step_judgement_id": random_id("s"),
            "response_id": new.response_id,
            "annotator_id": ensure_annotator(store, new.annotator),
            "separator": new.separator,
            "ends": list(new.ends),
            "labels": list(new.labels),
            "seconds": new.seconds,
        }
        store.write(block("steps", "add"), values)
        drop_draft(store, new.annotator, new.response_id)
    return str(values["step_judgement_id"])


def standing(store: Store, annotator: str, response_id: str) -> StepJudgement | None:
    """What an annotator says of the steps of a response, if anything."""
    row = store.row(block("steps", "standing"), _of(annotator, response_id))
    return None if row is None or not row[2] else StepJudgement(row[0], tuple(row[1]), tuple(row[2]))


def keep_draft(
    store: Store,
    annotator: str,
    response_id: str,
    ends: Sequence[int],
    step_labels: Sequence[int | None],
) -> None:
    """Keep what is said of the steps so far, in the place of what was; on disk when this returns."""
    values = _of(annotator, response_id) | {"ends": list(ends), "labels": list(step_labels)}
    store.write(block("steps", "keep_draft"), values)


def drop_draft(store: Store, annotator: str, response_id: str) -> None:
    """Forget what was said and not recorded, if anything."""
    store.write(block("steps", "drop_draft"), _of(annotator, response_id))


def draft(
    store: Store, annotator: str, response_id: str
) -> tuple[tuple[int, ...], tuple[int | None, ...]] | None:
    """Ends and labels of what was said of the steps of a response and not recorded."""
    row = store.row(block("steps", "draft"), _of(annotator, response_id))
    return None if row is None else (tuple(row[0]), tuple(row[1]))


def newest_draft(store: Store, annotator: str, left: Sequence[str] = ()) -> str | None:
    """The response that the annotator was at last and has not recorded, other than those `left`."""
    values = {"annotator_id": annotator_id(annotator), "left": list(left)}
    row = store.row(block("steps", "newest_draft"), values)
    return None if row is None else str(row[0])


def _of(annotator: str, response_id: str) -> dict[str, Any]:
    return {"annotator_id": annotator_id(annotator), "response_id": response_id}


def labels(store: Store, response_id: str) -> list[StepLabel]:
    """What everybody says of the steps of a response, by annotator and step."""
    return store.records(StepLabel, block("steps", "labels"), {"response_id": response_id})


def scores(store: Store, response_id: str, reward_model_id: str) -> list[StepScore]:
    """The score at each step's end by one process reward model, in order."""
    values = {"response_id": response_id, "reward_model_id": reward_model_id}
    return store.records(StepScore, block("steps", "scores"), values)


def counted(store: Store) -> Sequence[tuple[str, int, int]]:
    """(annotator, responses, steps) with labels, the most first."""
    return [(name, responses, steps) for name, responses, steps in store.rows(block("steps", "counted"))]


def insert_scores_from_parquet(
    store: Store, path: Path, *, reward_model_id: str, rows: Span = ALL_ROWS
) -> int:
    """Ingest what a run says at the ends of steps; the same response and model again replaces."""
    values = {**rows_of(path, rows), "reward_model_id": reward_model_id}
    return store.write(block("steps", "ingest_scores"), values)


def next_unjudged(store: Store, annotator: str, separator: str, left: Sequence[str] = ()) -> str | None:
    """The response whose steps the annotator may judge next, other than those `left` for later."""
    values = {"annotator_id": annotator_id(annotator), "separator": separator, "left": list(left)}
    row = store.row(block("steps", "next_unjudged"), values)
    return None if row is None else str(row[0])


def last_judged(store: Store, annotator: str) -> str | None:
    """The response whose steps the annotator judged last."""
    row = store.row(block("steps", "last_judged"), {"annotator_id": annotator_id(annotator)})
    return None if row is None else str(row[0])


def response(store: Store, response_id: str) -> SteppedResponse:
    """A response with its prompt.  Raises NotFoundError."""
    rows = store.records(SteppedResponse, block("steps", "response"), {"response_id": response_id})
    if not rows:
        raise NotFoundError(f"There is no response {response_id}.")
    return rows[0]


def done(store: Store, annotator: str) -> tuple[int, int]:
    """How many responses, and how many of their steps, the annotator has judged."""
    row = store.row(block("steps", "done"), {"annotator_id": annotator_id(annotator)})
    return (int(row[0]), int(row[1])) if row else (0, 0)
