"""Events of a run into the store, each exactly once.

All effects of a batch of lines (metrics, messages, rows from Parquet, artifacts, status) and the place
reached in `events.jsonl` move in one transaction, so a crash between two batches repeats or loses nothing.
A batch is a slice of what was read: `slices` cuts it so that nobody waits long for the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from storage import artifacts, policies, responses, runs, scores, steps
from storage.errors import StoreError
from storage.measures import judges
from storage.parquet import ALL_ROWS, Span, parquet_rows
from storage.records import RunRow
from storage.store import MANY, Store

Line = Mapping[str, Any]
SAMPLING = ("temperature", "top_p", "max_new_tokens", "template", "stop")


SLICE_METRICS = 3000
"""What one transaction stores, about, as so many rows of metrics; some 20 ms, for which a judgement waits."""
SLICE_ROWS = 600
"""The same as rows of a table with a key."""
STATEMENT = 1250
"""What an event with statements of its own costs, as so many rows of metrics."""
EVENT = 2
"""What any event costs."""


def slices(lines: Sequence[Line]) -> Iterator[Sequence[Line]]:
    """The lines in runs that are stored at once, each of about what `SLICE_METRICS` rows of metrics cost."""
    start, cost = 0, 0
    for end, line in enumerate(lines):
        more = _cost(line["event"])
        if cost and cost + more > SLICE_METRICS:
            yield lines[start:end]
            start, cost = end, 0
        cost += more
    if start < len(lines):
        yield lines[start:]


def _cost(event: Mapping[str, Any]) -> int:
    match event["type"]:
        case "metrics":
            return EVENT + len(event["values"])
        case "output":
            return STATEMENT + min(int(event["rows"]), SLICE_ROWS) * SLICE_METRICS // SLICE_ROWS
        case "artifact" | "started":
            return STATEMENT
        case "message":  # a row of a table with a key
            return EVENT + SLICE_METRICS // SLICE_ROWS
    return EVENT


def ingest(store: Store, run_id: str, lines: Sequence[Line], offset: int) -> int:
    """Take in lines of `events.jsonl`, in one transaction; the number that were new.

    A line is the plain decoded JSON: `{"seq": 1, "at": 1700000000.0, "event": {"type": "started", …}}`.
    Lines up to the run's last_seq are passed over.  `offset` is the byte after the last of them, or a byte
    before them as long as further lines of the same reading are to come.
    """
    begun = _ahead(store, run_id, lines[0]) if len(lines) == 1 else 0
    if sum(_cost(line["event"]) for line in lines) > MANY:
        import pyarrow  # noqa: F401  # takes 0.1 s the first time, for which nobody should wait
    with store.transaction():
        run = runs.run_row(store, run_id)
        fresh = _rising(lines, run.last_seq)
        changes: dict[str, Any] = {}
        waiting = _Waiting(store, run_id)
        for line in fresh:
            event, at = line["event"], _time(line["at"])
            if event["type"] == "metrics":
                waiting.measured(line["seq"], event, at)
            elif event["type"] == "started" and event.get("resumed_from_step") is not None:
                waiting.store()
                runs.drop_after_step(store, run_id, event["resumed_from_step"])
            elif event["type"] == "output":
                _output(store, run, event, line["seq"], at, begun)
            elif event["type"] == "artifact":
                _artifact(store, run, event)
            elif event["type"] == "message":
                waiting.messages.append((run_id, line["seq"], event["level"], event["text"], at))
            changes |= _changes(event, at)
        waiting.store()
        if fresh:
            changes["last_seq"] = fresh[-1]["seq"]
        if fresh or offset > run.last_offset:
            runs.update_run(store, run_id, **changes, last_offset=offset)
    return len(fresh)


def _rising(lines: Sequence[Line], last: int) -> list[Line]:
    """The lines whose numbers rise past `last`: what a writer says twice, or late, is heard once."""
    fresh = []
    for line in lines:
        if line["seq"] > last:
            fresh.append(line)
            last = line["seq"]
    return fresh


class _Waiting:
    """Metrics and messages of a batch, which are stored by one statement each."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store, self._run_id = store, run_id
        self._metrics: list[runs.MetricRow] = []
        self.messages: list[runs.MessageRow] = []

    def measured(self, seq: int, event: Mapping[str, Any], at: datetime) -> None:
        step = event["step"]
        self._metrics += [
            (self._run_id, seq, step, _metric_name(name), value, at)
            for name, value in event["values"].items()
        ]

    def store(self) -> None:
        runs.insert_metrics(self._store, self._metrics)
        runs.insert_messages(self._store, self.messages)
        self._metrics, self.messages = [], []


def _changes(event: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """What an event says about the run itself."""
    match event["type"]:
        case "started":
            again = event.get("resumed_from_step") is not None
            started = {} if again else {"started_at": at}
            return {
                "status": "running",
                "device": event["device"],
                "dtype": event.get("dtype"),
                "reason": None,
                "ended_at": None,
                **started,
            }
        case "progress":
            total = event.get("total")
            share = min(max(event["done"] / total, 0.0), 1.0) if total else None
            return {"stage": event["stage"], "progress": share}
        case "finished":
            return {"status": "done", "progress": 1.0, "summary": event.get("summary", {}), "ended_at": at}
        case "stopped":
            return {"status": "paused" if event.get("paused") else "stopped", "ended_at": at}
        case "failed":
            return {"status": "failed", "reason": event["reason"], "ended_at": at}
    return {}


def _ahead(store: Store, run_id: str, line: Line) -> int:
    """All but the last rows of a long table, in transactions of their own, before the event; how many.

    Rows are known by their keys, so those of a reading that was cut off are simply stored again.
    """
    event = line["event"]
    if event["type"] != "output" or event["rows"] <= SLICE_ROWS or event["kind"] == "traces":
        return 0
    run = runs.run_row(store, run_id)
    if line["seq"] <= run.last_seq:
        return 0
    path = _inside(run, event["path"])
    count = parquet_rows(store, path) if path.is_file() else 0
    begun = max(0, count - 1) // SLICE_ROWS * SLICE_ROWS
    for start in range(0, begun, SLICE_ROWS):
        _rows(store, run, event, path, (start, start + SLICE_ROWS))
    return begun


def _output(store: Store, run: RunRow, event: Mapping[str, Any], seq: int, at: datetime, begun: int) -> None:
    if event["kind"] == "traces":  # the view token_traces reads the file where it lies
        return
    path = _inside(run, event["path"])
    if path.is_file():
        _rows(store, run, event, path, (begun, ALL_ROWS[1]))
    else:
        lost = f"Lost: {event['kind']}, as {path} is not there ({event['rows']} in number)."
        runs.add_message(store, run.run_id, seq, "warning", lost, at)


def _rows(store: Store, run: RunRow, event: Mapping[str, Any], path: Path, rows: Span) -> None:
    """Some rows of a table that a run has written."""
    kind = event["kind"]
    if kind == "responses":
        policy = _answered_by(store, run, event.get("policy", ""))
        sampling = {key: run.config[key] for key in SAMPLING if key in run.config}
        seed = run.config.get("seed")
        responses.insert_from_parquet(
            store, path, run_id=run.run_id, policy_id=policy, sampling=sampling, seed=seed, rows=rows
        )
    elif kind == "scores":
        model = _scored_by(store, run)
        scores.insert_from_parquet(store, path, run_id=run.run_id, reward_model_id=model, rows=rows)
    elif kind == "step_scores":
        steps.insert_scores_from_parquet(store, path, reward_model_id=_scored_by(store, run), rows=rows)
    elif kind == "splits":
        runs.insert_splits_from_parquet(store, path, run_id=run.run_id, rows=rows)
    elif kind == "evaluations":
        runs.insert_evaluations_from_parquet(store, path, run_id=run.run_id, rows=rows)
    elif kind == "unseen":
        runs.insert_unseen_from_parquet(store, path, run_id=run.run_id, rows=rows)
    elif kind == "judgements":
        judges.insert_from_parquet(store, path, run_id=run.run_id, rows=rows)
    elif kind == "rollouts":
        runs.insert_rollouts_from_parquet(store, path, run_id=run.run_id, rows=rows)


def _scored_by(store: Store, run: RunRow) -> str:
    """The reward model whose scores a run has written: its own, else the one that its configuration names."""
    own = artifacts.listed(store, run_id=run.run_id, kind="reward_model")
    if own:
        return own[0].artifact_id
    if "reward_model" not in run.config:
        raise StoreError(f"Run {run.run_id} has written scores before a reward model; they were not read.")
    return artifacts.reward_model(store, str(run.config["reward_model"])).reward_model_id


def _answered_by(store: Store, run: RunRow, own: str) -> str:
    """Id of the policy that answered: the one that sampled, the run's `own`, or the choice among samples.

    The best of n samples is a policy of its own, without a model.
    """
    name = str(run.config["policy"])
    if run.kind == "best_of_n":
        own = str(run.config["name"])
    if not own:
        words_alone = run.config.get("protocol") == "text"  # a model elsewhere, which nothing here can load
        return policies.ensure(store, name, model=None if words_alone else name)
    policy = policies.find(store, own)
    if policy is not None and policy.run_id != run.run_id and run.kind != "best_of_n":
        own = f"{own} ({run.run_id})"  # as `policies.register_trained` calls it
    base = policies.find(store, name)
    parent = base.policy_id if base else None
    return policies.ensure(store, own, parent=parent, run_id=run.run_id)


def _artifact(store: Store, run: RunRow, event: Mapping[str, Any]) -> None:
    kind, name, path = event["kind"], str(event["name"]), str(_inside(run, event["path"]))
    parent: str | None = None
    if kind == "policy":
        base = policies.find(store, str(run.config.get("policy", "")))
        parent = base.policy_id if base else None
        policies.register_trained(store, name, folder=path, parent=parent, run_id=run.run_id)
    elif kind == "onnx":
        parent = artifacts.reward_model(store, str(run.config["reward_model"])).reward_model_id
    artifacts.insert(
        store,
        run_id=run.run_id,
        kind=kind,
        name=name,
        parent_id=parent,
        path=path,
        step=event.get("step"),
        details=event.get("details"),
    )


def _inside(run: RunRow, relative: str) -> Path:
    """A path that an event names; it may not lead out of the run directory."""
    if run.run_dir is None:
        raise StoreError(f"Run {run.run_id} has no run directory.")
    root = Path(run.run_dir).resolve()
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        raise StoreError(
            f"Run {run.run_id} names {relative}, which lies outside its run directory; it was not read."
        )
    return path


@lru_cache(maxsize=1024)
def _metric_name(name: str) -> str:
    """The name that is stored: a job started before version 8 of the store says `ppo/` for `policy/`."""
    return "policy/" + name.removeprefix("ppo/") if name.startswith("ppo/") else name


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
