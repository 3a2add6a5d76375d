"""Judges that are models: what their runs have written, and how far they agree with people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from storage.measures.judge_records import ConfusionRow, JudgeCounts, LabelCount
from storage.measures.report_records import CalibrationBin, Figure
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


def listed(store: Store) -> list[JudgeCounts]:
    """Every model that has judged, by criterion; what was taken back does not count."""
    return store.records(JudgeCounts, block("judges", "listed"))


def figures(store: Store, judge: str, criterion: str, *, seed: int, replicates: int) -> dict[str, Figure]:
    """Every share that is said of a judge with its bootstrap interval over prompts, by name."""
    values = {**_about(judge, criterion), "seed": seed, "replicates": replicates}
    return {figure.figure: figure for figure in store.records(Figure, block("judges", "figures"), values)}


def confusion(store: Store, judge: str, criterion: str) -> list[ConfusionRow]:
    """What it says where people prefer one response, and where they tie."""
    return store.records(ConfusionRow, block("judges", "confusion"), _about(judge, criterion))


def contested(store: Store, judge: str, criterion: str) -> int:
    """Pairs that it shares with people who have no majority."""
    row = store.row(block("judges", "contested"), _about(judge, criterion))
    return int(row[0]) if row else 0


def reliability(store: Store, judge: str, criterion: str) -> list[CalibrationBin]:
    """Bins of its probability for what it prefers, from one half up, where people prefer one too."""
    return store.records(CalibrationBin, block("judges", "reliability"), _about(judge, criterion))


def labels(
    store: Store, criteria: Sequence[str] | None, annotator: str = "", source: str = ""
) -> list[LabelCount]:
    """Standing judgements of each kind of annotator, models one by one; on prompts of a source, or all."""
    values = {"criteria": None if criteria is None else list(criteria), "annotator": annotator}
    return store.records(LabelCount, block("judges", "labels"), values | {"source": source})


def _about(judge: str, criterion: str) -> dict[str, str | int]:
    return {"judge": judge, "criterion": criterion}
