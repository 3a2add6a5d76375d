"""The last value of each metric, kept beside all of them, is the one that is found among all of them."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex
from typing import Any

import duckdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import ingest, runs
from storage.care.doctor import look_inside
from storage.file import migrate
from storage.store import Store
from tests.storage.test_ingest import line

AT = "TIMESTAMP '2026-01-02'"
VALUES = st.sampled_from([None, float("nan"), float("inf"), -2.5, 0.0, 7.0])
SAID = st.one_of(
    st.tuples(st.integers(0, 5), st.dictionaries(st.sampled_from(["train/loss", "policy/kl"]), VALUES)),
    st.integers(0, 5),
)
"""Metrics of a step, or that the run goes on from a step."""


def event(seq: int, said: Any) -> dict[str, Any]:
    if isinstance(said, int):
        return line(seq, "started", pid=1, device="cpu", resumed_from_step=said)
    return line(seq, "metrics", step=said[0], values=said[1])


def naive(rows: list[tuple[int, int, str, float | None]]) -> dict[str, tuple[int, float | None]]:
    """Of (seq, step, name, value) the farthest step of each name and its last number."""
    return {
        name: (
            max(step for _, step, other, _ in rows if other == name),
            max(((step, seq, value) for seq, step, n, value in rows if n == name and value is not None),
                default=(0, 0, None))[2],
        )
        for name in {name for _, _, name, _ in rows}
    }  # fmt: skip


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(SAID, min_size=1, max_size=5), min_size=1, max_size=5))
def test_they_are_those_of_all_metrics_after_every_batch(store: Store, batches: list[list[Any]]) -> None:
    run_id, seq = token_hex(8), 0
    runs.insert_run(store, run_id, "ppo", {"name": "x"})
    for batch in batches:
        lines = [event(seq := seq + 1, said) for said in batch]
        ingest.ingest(store, run_id, lines, seq)
        kept = store.rows("SELECT name, step, value FROM latest_metrics WHERE run_id = $1", [run_id])
        found = naive(store.rows("SELECT seq, step, name, value FROM metrics WHERE run_id = $1", [run_id]))
        assert {name: (step, value) for name, step, value in kept} == found
        (row,) = store.rows("SELECT last_step, loss, kl FROM run_summary WHERE run_id = $1", [run_id])
        last = max((step for step, _ in found.values()), default=None)
        assert row == (last, *(found.get(name, (0, None))[1] for name in ("train/loss", "policy/kl")))


def test_a_store_of_an_earlier_version_gets_them_and_changes_by_hand_are_mended(tmp_path: Path) -> None:
    path, earlier = tmp_path / "a.duckdb", tmp_path / "earlier"
    earlier.mkdir()
    for version, file in migrate.migrations():
        if version < 28:
            (earlier / file.name).symlink_to(file)
    with duckdb.connect(str(path)) as connection:
        migrate.bring_up_to_date(connection, path, fresh=True, folder=earlier)
        connection.execute(
            "INSERT INTO runs (run_id, kind, status, config) VALUES ('r', 'ppo', 'done', '{}')"
        )
        for said in ("1, 1, 'policy/kl', 0.5", "2, 2, 'policy/kl', 0.75", "3, 9, 'x', NULL"):
            connection.execute(f"INSERT INTO metrics VALUES ('r', {said}, {AT})")
    summary = "SELECT last_step, kl FROM run_summary"
    with Store.open(path) as store:
        assert store.rows(summary) == [(9, 0.75)]
        assert list(look_inside(store)) == []
        store.write(f"INSERT INTO metrics VALUES ('r', 4, 12, 'policy/kl', 3.0, {AT})")
        (found,) = look_inside(store)
        assert "last values kept of 1 run" in found.sentence
        assert not found.repaired
        (found,) = look_inside(store, repair=True)
        assert found.repaired
        assert store.rows(summary) == [(12, 3.0)]
        assert list(look_inside(store)) == []
