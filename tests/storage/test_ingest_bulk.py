"""What a run says is stored by few statements, in transactions that nobody waits long for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from storage import artifacts, ingest, judgements, runs, scores
from storage.records import NewScore
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses, judge
from tests.storage.test_ingest import line, parquet, queue


class Counting:
    """A cursor that counts the statements it runs; what runs once a row counts once a row."""

    def __init__(self, cursor: Any, seen: list[str]) -> None:
        self._cursor, self._seen = cursor, seen

    def execute(self, sql: str, *more: Any) -> Any:
        self._seen.append(sql.lstrip())
        return self._cursor.execute(sql, *more)

    def executemany(self, sql: str, rows: Any) -> Any:
        self._seen += [sql.lstrip()] * len(rows)
        return self._cursor.executemany(sql, rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    seen: list[str] = []
    store.cursor()
    whole = store._local.cursor
    store._local.cursor = Counting(whole, seen)
    yield seen
    store._local.cursor = whole


def writes(seen: list[str]) -> int:
    return sum(not sql.startswith(("SELECT", "BEGIN", "COMMIT")) for sql in seen)


@pytest.mark.parametrize("what", ["metrics", "messages"])
def test_what_is_written_does_not_grow_with_the_events(store: Store, tmp_path: Path, what: str) -> None:
    counts = []
    for run_id, events in (("ppo-1", 3), ("ppo-2", 60)):
        queue(store, tmp_path / run_id, run_id, "ppo", name="x", policy="base")
        said = {
            "metrics": {"values": {f"m{i}": 0.5 for i in range(10)}},
            "messages": {"level": "info", "text": "Hello."},
        }[what]
        lines = [
            line(n + 1, what.rstrip("s") if what == "messages" else what, step=n, **said)
            for n in range(events)
        ]
        with statements(store) as seen:
            assert ingest.ingest(store, run_id, lines, 10) == events
        counts.append(writes(seen))
    # The rows, the place reached, and of metrics the last of each.
    assert counts == ([3, 3] if what == "metrics" else [2, 2])
    assert len(runs.metrics(store, "ppo-2").get("m3", [])) == (60 if what == "metrics" else 0)
    assert len(runs.messages(store, "ppo-2", limit=100)) == (0 if what == "metrics" else 60)


def test_a_judgement_and_scores_are_one_statement_a_table(store: Store) -> None:
    prompt = add_prompt(store)
    answers = add_responses(store, prompt, *[f"Answer {n}." for n in range(8)])
    judge(store, prompt, {answers[0]: 1, answers[1]: 2})
    with statements(store) as few:
        judge(store, prompt, {answers[0]: 1, answers[1]: 2})
    with statements(store) as many:
        judge(store, prompt, {answer: n for n, answer in enumerate(answers)})
    assert len(few) == len(many)
    assert len(judgements.last_standing(store, "ana").items) == 8  # type: ignore[union-attr]
    with statements(store) as seen:
        scores.upsert(store, [NewScore(answer, "rm", 0.5, "x") for answer in answers])
    assert writes(seen) == 1


def test_slices_are_short_and_whole() -> None:
    lines = [line(n, "metrics", step=n, values={f"m{i}": 1.0 for i in range(30)}) for n in range(1, 200)]
    lines.insert(100, line(1000, "output", kind="scores", path="s.parquet", rows=10**7))
    parts = list(ingest.slices(lines))
    assert [one for part in parts for one in part] == lines
    assert (
        max(sum(len(one["event"].get("values", {})) for one in part) for part in parts)
        <= ingest.SLICE_METRICS
    )
    assert [lines[100]] in parts  # a long table comes alone
    assert list(ingest.slices([])) == []
    huge = line(1, "metrics", step=1, values={f"m{i}": 1.0 for i in range(5 * ingest.SLICE_METRICS)})
    assert list(ingest.slices([huge, huge])) == [[huge], [huge]]  # more than a slice is a slice


def test_a_long_table_is_stored_by_parts_each_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "SLICE_ROWS", 10)
    model = artifacts.insert(store, run_id="reward-1", kind="reward_model", name="rm", path="/m")
    queue(store, tmp_path / "run", "score-1", "score", reward_model="rm")
    rows = "SELECT 'r' || i AS response_id, i::DOUBLE AS score, 'x' AS backend FROM range(35) r(i)"
    parquet(store, tmp_path / "run" / "s.parquet", rows)
    said = line(1, "output", kind="scores", path="s.parquet", rows=35)
    with statements(store) as seen:
        ingest.ingest(store, "score-1", [said], 5)
    assert seen.count("COMMIT") == 4  # 10, 20, 30, and the last five with the event
    found = store.rows("SELECT count(*), sum(score), any_value(reward_model_id) FROM scores")
    assert found == [(35, 35 * 34 / 2, model)]
    assert runs.run_row(store, "score-1").last_seq == 1

    # Cut off between two parts, it is stored again from the beginning and nothing is there twice.
    queue(store, tmp_path / "run", "score-2", "score", reward_model="rm")
    store.write("DELETE FROM scores")
    ingest._ahead(store, "score-2", said)
    assert store.rows("SELECT count(*) FROM scores") == [(30,)]
    assert runs.run_row(store, "score-2").last_seq == 0
    ingest.ingest(store, "score-2", [said], 5)
    assert store.rows("SELECT count(*) FROM scores") == [(35,)]


def test_a_length_that_is_not_true_is_not_believed(store: Store, tmp_path: Path) -> None:
    artifacts.insert(store, run_id="reward-1", kind="reward_model", name="rm", path="/m")
    queue(store, tmp_path / "run", "score-1", "score", reward_model="rm")
    parquet(store, tmp_path / "run" / "s.parquet", "SELECT 'r1' AS response_id, 1.0 AS score, 'x' AS backend")
    with statements(store) as seen:
        said = line(1, "output", kind="scores", path="s.parquet", rows=10**15)
        assert ingest.ingest(store, "score-1", [said], 5) == 1
    assert len(seen) < 20
    assert store.rows("SELECT count(*) FROM scores") == [(1,)]
