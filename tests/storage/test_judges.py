"""What judges write into the store: judgements of kind ai, with the answer in each order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage import judgements, judges, snapshots
from storage.ids import annotator_id
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses, judge


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open(":memory:") as opened:
        yield opened


def two_rows(
    prompt: str, a: str, b: str, verdict: int, said: tuple[int, int], **more: Any
) -> list[dict[str, Any]]:
    shared = {
        "annotator": "ai:x", "prompt_id": prompt, "criterion": "overall", "response_a": a, "response_b": b,
        "verdict": verdict, "mass": 0.5, "answer": None, "tokens_in": 10, "tokens_out": 1, "cost": 0.25,
        "seconds": 1.0, "cached": False,
    }  # fmt: skip
    return [
        {**shared, "first_id": a, "said": said[0], "share": 0.75, **more},
        {**shared, "first_id": b, "said": said[1], "share": 0.5, **more},
    ]


def test_judgements_come_once_with_both_orders(store: Store, tmp_path: Path) -> None:
    prompt = add_prompt(store)
    a, b, c = sorted(add_responses(store, prompt, "one", "two", "three"))
    rows = two_rows(prompt, a, b, 1, (1, -1)) + two_rows(prompt, a, c, 0, (1, 1))
    rows += two_rows(prompt, a, "r-gone", 1, (1, -1))
    path = tmp_path / "judgements.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert judges.insert_from_parquet(store, path, run_id="judge-1", rows=(0, 3)) == 3
    assert judges.insert_from_parquet(store, path, run_id="judge-1") == 1
    assert judges.insert_from_parquet(store, path, run_id="judge-1") == 0
    assert judgements.annotators(store) == [("ai:x", "ai")]
    assert store.rows("SELECT annotator_id FROM annotators") == [(annotator_id("ai:x"),)]
    assert store.rows("SELECT winner_id, loser_id, annotator_kind FROM preference_pairs") == [(a, b, "ai")]
    assert store.rows("SELECT response_a, response_b FROM preference_ties") == [(a, c)]
    found = store.rows(
        "SELECT x, y, shown_first, shown_second, orders_agree, share, cost FROM judge_pairs ORDER BY y"
    )
    assert found == [(a, b, 1, 1, True, 0.625, 0.5), (a, c, 1, -1, False, 0.625, 0.5)]


def test_the_pairs_to_judge(store: Store, tmp_path: Path) -> None:
    first, second, third = (add_prompt(store, text) for text in ("one?", "two?", "three?"))
    a, b, c = sorted(add_responses(store, first, "x", "y", "z"))
    add_responses(store, second, "same")
    add_responses(store, second, "same", policy="other")
    d, e = sorted(add_responses(store, third, "v", "w"))
    judge(store, first, {a: 1, b: 2})
    judge(store, first, {b: 1, c: 2}, "rule:concise")
    judge(store, first, {a: 1, c: 1}, "ai:x", criterion="kind")

    def pairs(**options: Any) -> list[tuple[str, str, list[str]]]:
        path = tmp_path / "pairs.parquet"
        assert snapshots.write_pairs(store, path, **options).rows == pq.read_metadata(path).num_rows
        return [(r["response_a"], r["response_b"], r["judged"]) for r in pq.read_table(path).to_pylist()]

    assert pairs() == [(a, b, []), (a, c, []), (b, c, []), (d, e, [])]
    assert pairs(annotator="ai:x")[1] == (a, c, ["kind"])
    assert pairs(judged_by_people=True) == [(a, b, [])]
    assert pairs(limit=1) == [(a, b, []), (a, c, []), (b, c, [])]
    assert pairs(source="absent") == []
    few = pairs(pairs_a_prompt=1, seed=3)
    assert few == pairs(pairs_a_prompt=1, seed=3)
    assert len(few) == 2
    assert len({tuple(pair[:2]) for seed in range(20) for pair in pairs(pairs_a_prompt=1, seed=seed)}) == 4
