"""Responses of policy learning with their components, token traces, the way to over-optimisation."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

import pytest

from storage import rollouts, runs
from storage.store import Store
from tests.storage.builders import add_prompt
from tests.storage.test_ingest import parquet

NOW = datetime(2026, 3, 4)


@pytest.fixture
def run(store: Store) -> str:
    runs.insert_run(store, "ppo-1", "ppo", {"name": "better", "policy": "base", "reward_model": "rm"})
    return "ppo-1"


def rows(step: int, prompt: str, text: str, components: str = "") -> str:
    more = f", '{components}' AS components" if components else ""
    return (
        f"SELECT {step} AS step, '{prompt}' AS prompt_id, i::INTEGER AS sample_index, "
        f"'{text} ' || i AS \"text\", 1.0 AS score, 0.5 AS reward, 0.1 AS kl, 3 AS tokens, "
        f"true AS stopped{more} FROM range(2) r(i)"
    )


def test_components_come_in_with_the_file_and_without(store: Store, run: str, tmp_path: Path) -> None:
    prompt = add_prompt(store)
    parquet(store, tmp_path / "1.parquet", rows(1, prompt, "old"))
    parquet(store, tmp_path / "2.parquet", rows(2, prompt, "new", '{"helpful": 1.5, "short": -2}'))
    for step in (1, 2):
        runs.insert_rollouts_from_parquet(store, tmp_path / f"{step}.parquet", run_id=run)
    first, second = rollouts.of_step(store, run, 1), rollouts.of_step(store, run, 2, limit=1)
    assert (first[0].components, len(first), len(second)) == ({}, 2, 1)
    assert second[0].components == {"helpful": 1.5, "short": -2.0}
    assert second[0].prompt == "Say hello."
    found = store.rows(
        "SELECT step, component, score FROM rollout_components WHERE sample_index = 0 ORDER BY 2"
    )
    assert found == [(2, "helpful", 1.5), (2, "short", -2.0)]


def test_a_step_is_set_beside_the_last_and_the_first_one_with_its_prompts(
    store: Store, run: str, tmp_path: Path
) -> None:
    a, b = add_prompt(store, "A"), add_prompt(store, "B")
    for step, prompt in ((1, a), (2, b), (3, a), (4, a)):
        parquet(store, tmp_path / "f.parquet", rows(step, prompt, f"s{step}"))
        runs.insert_rollouts_from_parquet(store, tmp_path / "f.parquet", run_id=run)
    assert [(r.step, r.text) for r in rollouts.earlier(store, run, 4)] == [(3, "s3 0"), (3, "s3 1")]
    assert [r.step for r in rollouts.earlier(store, run, 4, first=True)] == [1, 1]
    assert rollouts.earlier(store, run, 2) == []


def test_traces_are_read_where_they_lie(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.duckdb") as store:
        names = ("logprob", "ref_logprob", "kl", "reward", "ratio")
        columns = ", ".join(f"-0.5 * i AS {name}" for name in names)
        parquet(
            store,
            tmp_path / "s.runs" / "ppo-1" / "traces" / "step-000005.parquet",
            "SELECT 5 AS step, 'p1' AS prompt_id, 1 AS sample_index, i AS position, i AS token_id, "
            f"'t' || i AS \"token\", {columns} FROM range(3) r(i)",
        )
        assert rollouts.trace_steps(store, "ppo-1") == [5]
        assert rollouts.traced_responses(store, "ppo-1", 5) == [("p1", 1)]
        trace = rollouts.trace(store, "ppo-1", 5, "p1", 1)
        assert [(t.position, t.token, t.kl, t.value) for t in trace] == [
            (0, "t0", 0.0, None),
            (1, "t1", -0.5, None),
            (2, "t2", -1.0, None),
        ]
        assert rollouts.trace(store, "ppo-1", 4, "p1", 1) == []


def test_overoptimisation_gathers_the_metrics_of_a_step(store: Store, run: str) -> None:
    runs.insert_run(store, "bon-1", "best_of_n", {"policy": "base", "reward_model": "rm"})
    runs.insert_metrics(
        store,
        [
            (run, 1, 1, "policy/kl", -0.001, NOW), (run, 1, 1, "policy/score", 0.2, NOW),
            (run, 1, 1, "policy/gold", 0.1, NOW), (run, 2, 2, "policy/kl", 4.0, NOW),
            (run, 2, 2, "policy/score", 0.9, NOW), (run, 2, 2, "policy/length", 9.0, NOW),
            ("bon-1", 1, 4, "bon/kl", math.log(4) - 0.75, NOW), ("bon-1", 1, 4, "bon/proxy", 0.7, NOW),
        ],
    )  # fmt: skip
    points = rollouts.overoptimisation(store, run)
    assert [(p.step, p.sqrt_kl, p.proxy, p.gold) for p in points] == [(1, 0.0, 0.2, 0.1), (2, 2.0, 0.9, None)]
    (bon,) = rollouts.overoptimisation(store, "bon-1")
    assert (bon.method, bon.step, bon.gold) == ("best of n", 4, None)
    assert bon.sqrt_kl**2 == pytest.approx(math.log(4) - 0.75)
    assert rollouts.best_of_n_runs(store, "rm", "base") == []
    runs.update_run(store, "bon-1", status="done")
    assert rollouts.best_of_n_runs(store, "rm", None) == ["bon-1"]
    assert rollouts.best_of_n_runs(store, "rm", "other") == []
