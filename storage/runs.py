"""Runs: jobs as the store knows them, with their metrics, messages and rollouts."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from storage.errors import NotFoundError
from storage.parquet import ALL_ROWS, Span, rows_of
from storage.policies import unknown
from storage.records import RunMessage, RunRow
from storage.sql import block
from storage.store import Store

COLUMNS = frozenset(RunRow.__dataclass_fields__) - {"run_id", "kind", "name"}
METRIC_COLUMNS = ("run_id", "seq", "step", "name", "value", "logged_at")
METRIC_TYPES = {"seq": "int64", "step": "int64", "value": "float64"}
MetricRow = tuple[str, int, int, str, float | None, datetime]
MESSAGE_COLUMNS = ("run_id", "seq", "level", "text", "logged_at")
MessageRow = tuple[str, int, str, str, datetime]


def insert_run(
    store: Store,
    run_id: str,
    kind: str,
    config: Mapping[str, Any],
    *,
    run_dir: str | None = None,
    waits_for: str | None = None,
) -> None:
    """Queue a run.  `waits_for` is a run that must be done before it starts."""
    store.write(
        block("runs", "add"),
        {
            "run_id": run_id,
            "kind": kind,
            "config": json.dumps(config, ensure_ascii=False),
            "waits_for": waits_for,
            "run_dir": run_dir,
        },
    )


def update_run(store: Store, run_id: str, **columns: Any) -> None:
    """Set columns of a run; mappings become JSON.  Raises KeyError for a column that runs do not have."""
    strange = set(columns) - COLUMNS
    if strange:
        raise KeyError(f"runs has no column {', '.join(sorted(strange))}")
    values = {name: json.dumps(v) if isinstance(v, Mapping) else v for name, v in columns.items()}
    changes = ", ".join(f"{name} = ${name}" for name in values)
    store.write(f"UPDATE runs SET {changes} WHERE run_id = $run_id", {**values, "run_id": run_id})


def claim(store: Store, run_id: str) -> bool:
    """Take a queued run to start it; False when somebody else has or it was stopped."""
    sql = "UPDATE runs SET status = 'running' WHERE run_id = $run_id AND status = 'queued'"
    return store.write(sql, {"run_id": run_id}) == 1


def run_rows(store: Store) -> list[RunRow]:
    """Every run, newest first."""
    return [_run(row) for row in store.rows(block("runs", "list"), {"run_id": None})]


def waiting_for_people(store: Store) -> tuple[str, ...]:
    """The paused runs that want people to rank, each with how far it has come."""
    return tuple(text for (text,) in store.rows(block("runs", "waiting_for_people")))


def waited_for(store: Store) -> list[str]:
    """Prompts whose samples a paused run wants people to rank, as far as nobody has judged them."""
    return [prompt for (prompt,) in store.rows(block("runs", "waited_for"))]


def unfinished(store: Store) -> list[RunRow]:
    """Queued and running runs, the oldest first."""
    return [_run(row) for row in store.rows(block("runs", "unfinished"))][::-1]


def run_row(store: Store, run_id: str) -> RunRow:
    """One run; NotFoundError, with the near match, when there is none."""
    row = store.row(block("runs", "list"), {"run_id": run_id})
    if row is None:
        raise NotFoundError(unknown("run", run_id, [r.run_id for r in run_rows(store)]))
    return _run(row)


def insert_metrics(store: Store, rows: Iterable[MetricRow]) -> None:
    """Add metrics, each once, and keep the last of each; a value that is not finite is stored as none."""
    listed = list(rows)
    if not listed:
        return
    with store.transaction():
        store.write_many(block("runs", "load_metrics"), METRIC_COLUMNS, listed, METRIC_TYPES)
        for run_id in dict.fromkeys(row[0] for row in listed):
            _keep_latest(store, run_id, [row for row in listed if row[0] == run_id])


def _keep_latest(store: Store, run_id: str, rows: Iterable[MetricRow]) -> None:
    """Of each metric of a run its farthest step, and the last value that is a number with its place."""
    known = store.row(block("runs", "known_latest"), {"run_id": run_id})
    latest: dict[str, dict[str, Any]] = json.loads(known[0]) if known else {}
    for _, seq, step, name, value, _ in rows:
        kept = latest.get(name)
        if kept is None:
            kept = latest[name] = {"step": step, "value_step": None, "value_seq": None, "value": None}
        elif step > kept["step"]:
            kept["step"] = step
        if value is None or not math.isfinite(value):
            continue
        if kept["value_step"] is None or (step, seq) > (kept["value_step"], kept["value_seq"]):
            kept["value_step"], kept["value_seq"], kept["value"] = step, seq, value
    change = block("runs", "change_latest" if known else "add_latest")
    store.write(change, {"run_id": run_id, "metrics": json.dumps(latest, ensure_ascii=False)})


def read_latest(store: Store, run_ids: Collection[str]) -> None:
    """Find the last values of the metrics of some runs anew, among all of them."""
    runs = {"runs": list(run_ids)}
    with store.transaction():
        store.write(block("runs", "forget_latest"), runs)
        store.write(block("runs", "read_latest"), runs)


def metrics(store: Store, run_id: str, *, after_step: int = -1) -> dict[str, list[tuple[int, float]]]:
    """(step, value) in order of steps, by name; where a step was said twice, its last value."""
    series: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for name, step, value in store.rows(
        block("runs", "metrics"), {"run_id": run_id, "after_step": after_step}
    ):
        series[name].append((step, value))
    return dict(series)


def new_metrics(store: Store, run_id: str, after: int) -> list[tuple[int, int, str, float, float]]:
    """(number of the event, step, name, value, seconds since 1970) of the events after one, in order."""
    rows: list[Any] = store.rows(block("runs", "new_metrics"), {"run_id": run_id, "after": after})
    return rows


def drop_after_step(store: Store, run_id: str, step: int) -> None:
    """Forget what a resumed run will say again."""
    with store.transaction():
        store.write(block("runs", "drop_metrics_after"), {"run_id": run_id, "step": step})
        read_latest(store, [run_id])
        store.write(block("runs", "drop_rollouts_after"), {"run_id": run_id, "step": step})
        store.write(block("runs", "drop_evaluations_after"), {"run_id": run_id, "step": step})


def add_message(store: Store, run_id: str, seq: int, level: str, text: str, logged_at: datetime) -> None:
    """Store one sentence of a run; one that is there by run and number is left as it is."""
    insert_messages(store, [(run_id, seq, level, text, logged_at)])


def insert_messages(store: Store, rows: Iterable[MessageRow]) -> None:
    """Add what a run has told; those of a (run_id, seq) that is there already are left."""
    store.write_many(block("runs", "load_messages"), MESSAGE_COLUMNS, list(rows))


def messages(store: Store, run_id: str, limit: int = 50) -> list[RunMessage]:
    """The last messages of a run, oldest first."""
    newest_first = store.records(RunMessage, block("runs", "messages"), {"run_id": run_id, "limit": limit})
    return newest_first[::-1]


def insert_rollouts_from_parquet(store: Store, path: Path, *, run_id: str, rows: Span = ALL_ROWS) -> int:
    """Ingest the rollouts of steps; the same step again replaces."""
    return store.write(block("runs", "ingest_rollouts"), {**rows_of(path, rows), "run_id": run_id})


def insert_evaluations_from_parquet(store: Store, path: Path, *, run_id: str, rows: Span = ALL_ROWS) -> int:
    """Ingest what a policy said to prompts held out; the same step again replaces."""
    return store.write(block("runs", "ingest_evaluations"), {**rows_of(path, rows), "run_id": run_id})


def insert_splits_from_parquet(store: Store, path: Path, *, run_id: str, rows: Span = ALL_ROWS) -> int:
    """Ingest which prompts a run trained on and which it kept to be measured on."""
    return store.write(block("runs", "ingest_splits"), {**rows_of(path, rows), "run_id": run_id})


def insert_unseen_from_parquet(store: Store, path: Path, *, run_id: str, rows: Span = ALL_ROWS) -> int:
    """Ingest what heads that never saw a prompt say of its pairs."""
    return store.write(block("runs", "ingest_unseen"), {**rows_of(path, rows), "run_id": run_id})


def rollout_steps(store: Store, run_id: str) -> list[int]:
    """Steps that have rollouts, in order."""
    return [step for (step,) in store.rows(block("runs", "rollout_steps"), {"run_id": run_id})]


def _run(row: tuple[Any, ...]) -> RunRow:
    values = list(row)
    values[4] = json.loads(values[4])
    values[17] = json.loads(values[17] or "{}")
    return RunRow(*values)
