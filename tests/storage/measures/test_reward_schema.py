"""Scores by criterion, splits, and how an older file comes by them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage import artifacts, ingest, responses, runs, scores
from storage.errors import StoreError
from storage.file import migrate
from storage.records import NewScore
from storage.store import MANY, Store
from storage.transfer import snapshots
from tests.storage.builders import add_prompt, add_responses
from tests.storage.test_ingest import line, parquet, queue

pytestmark = pytest.mark.usefixtures("made_stores")


def model(store: Store, **details: Any) -> str:
    return artifacts.insert(
        store, run_id="reward-1", kind="reward_model", name="rm", path="/m", details=details
    )


def oldest(folder: Path) -> Path:
    """The first migrations alone: a file as the first workbench left it."""
    folder.mkdir()
    for version, file in migrate.migrations():
        if version <= 2:
            shutil.copy(file, folder)
    return folder


OLD_ROWS = """
INSERT INTO prompts (prompt_id, text, messages) VALUES ('p1', 'Hi', '[]');
INSERT INTO policies (policy_id, name) VALUES ('y1', 'base'), ('y2', 'other');
INSERT INTO responses (response_id, prompt_id, policy_id, text)
VALUES ('r1', 'p1', 'y1', 'a'), ('r2', 'p1', 'y2', 'b');
INSERT INTO artifacts (artifact_id, kind, name, path) VALUES ('f1', 'reward_model', 'rm', '/m');
INSERT INTO scores (response_id, reward_model_id, score, backend, scored_at)
VALUES ('r1', 'f1', 1.5, 'onnx-int8', '2026-01-02'), ('r1', 'f1', 2.5, 'torch-float32', '2026-01-01'),
       ('r2', 'f1', 0.5, 'onnx-int8', '2026-01-01');
"""


def test_an_older_file_keeps_its_scores(tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    with duckdb.connect(str(path)) as connection:
        migrate.bring_up_to_date(connection, path, fresh=True, folder=oldest(tmp_path / "m"))
        connection.execute(OLD_ROWS)
    with Store.open(path) as store:
        kept = store.rows(
            "SELECT response_id, score, criterion, uncertainty, scored_at FROM scores ORDER BY 2"
        )
        assert [row[:4] for row in kept] == [
            ("r2", 0.5, "overall", None),
            ("r1", 1.5, "overall", None),
            ("r1", 2.5, "overall", None),
        ]
        assert str(kept[1][4]) == "2026-01-02 00:00:00"
        assert store.rows("SELECT response_id, score, criterion FROM response_scores ORDER BY 1") == [
            ("r1", 2.5, "overall"),
            ("r2", 0.5, "overall"),
        ]
        assert store.rows("SELECT policy_a, wins FROM win_rates WHERE judge = 'rm' ORDER BY 1") == [
            ("base", 1),
            ("other", 0),
        ]
        assert store.rows("SELECT count(*) FROM run_prompts") == [(0,)]
    assert path.with_name("old.duckdb.schema-0002").exists()
    with Store.open(path) as store:
        assert store.rows("SELECT count(*) FROM scores") == [(3,)]


@pytest.mark.parametrize("few", [True, False])
def test_a_score_has_a_criterion_and_the_models_first_one_counts(store: Store, few: bool) -> None:
    prompt = add_prompt(store)
    (response,) = add_responses(store, prompt, "Hello.")
    reward_model = model(store, criteria=["helpful", "brief"])
    more = [] if few else [NewScore(f"r{n}", reward_model, 0.0, "x") for n in range(MANY)]
    told = [
        NewScore(response, reward_model, 1.0, "torch-float32", criterion="brief", uncertainty=0.5),
        NewScore(response, reward_model, 2.0, "torch-float32", criterion="helpful"),
        NewScore(response, reward_model, 9.0, "onnx-int8", criterion="helpful"),
    ]
    scores.upsert(store, told + more)
    assert store.rows("SELECT score, criterion, uncertainty FROM response_scores") == [(2.0, "helpful", None)]
    assert store.rows("SELECT criterion, score, uncertainty, place FROM criterion_scores ORDER BY 1") == [
        ("brief", 1.0, 0.5, 2),
        ("helpful", 2.0, None, 1),
    ]
    assert responses.of_prompt(store, prompt)[0].scores == {"rm": 2.0}
    scores.upsert(store, [NewScore(response, reward_model, 3.0, "torch-float32", criterion="helpful")])
    assert store.rows("SELECT count(*), max(score) FROM scores WHERE response_id = ?", [response]) == [
        (3, 9.0)
    ]


def test_without_a_list_of_criteria_overall_comes_first(store: Store) -> None:
    prompt = add_prompt(store)
    (response,) = add_responses(store, prompt, "Hello.")
    reward_model = model(store)
    for n, criterion in enumerate(("b", "overall", "a")):
        scores.upsert(store, [NewScore(response, reward_model, n, "x", criterion=criterion)])
    assert store.rows("SELECT criterion FROM response_scores") == [("overall",)]
    assert responses.of_prompt(store, prompt)[0].scores == {"rm": 1.0}


SCORED = (
    "SELECT 'r' || i AS response_id, i::FLOAT AS score, 'torch-float32' AS backend, c AS criterion, "
    "CASE i WHEN 0 THEN 'nan'::DOUBLE ELSE 0.25 END AS uncertainty "
    "FROM range(2) r(i), (VALUES ('helpful'), ('brief')) v(c)"
)


def test_a_reward_run_tells_what_it_says_of_prompts_held_out_of_each_split(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    queue(store, folder, "reward-1", "reward", name="rm")
    parquet(
        store,
        folder / "u.parquet",
        "SELECT i::INTEGER AS split, 'overall' AS criterion, 'p' AS prompt_id, 'a' AS response_a, "
        "'b' AS response_b, i / 2 AS margin FROM range(3) r(i)",
    )
    for seq in (1, 2):  # announced again, by a run that went on
        told = line(seq, "output", kind="unseen", path="u.parquet", rows=3)
        ingest.ingest(store, "reward-1", [told], 10 * seq)
    assert store.rows("SELECT run_id, split, prompt_id, margin FROM unseen_margins ORDER BY split") == [
        ("reward-1", 0, "p", 0.0),
        ("reward-1", 1, "p", 0.5),
        ("reward-1", 2, "p", 1.0),
    ]


def test_a_reward_run_tells_its_splits_and_scores(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    artifacts.insert(store, run_id="earlier", kind="reward_model", name="rm", path="/m")
    queue(store, folder, "reward-1", "reward", name="rm")
    parquet(store, folder / "s.parquet", SCORED)
    parquet(
        store,
        folder / "p.parquet",
        "SELECT 'p' || i AS prompt_id, if(i = 0, 'heldout', 'train') AS split FROM range(3) r(i)",
    )
    batch = [
        line(1, "output", kind="splits", path="p.parquet", rows=3),
        line(2, "artifact", kind="reward_model", name="rm", path="model"),
        line(3, "output", kind="scores", path="s.parquet", rows=4),
        line(4, "artifact", kind="features", name="smollm2", path="features", details={"width": 8}),
    ]
    ingest.ingest(store, "reward-1", batch, 10)
    (own,) = artifacts.listed(store, run_id="reward-1", kind="reward_model")
    found = store.rows("SELECT DISTINCT reward_model_id, run_id, criterion FROM scores ORDER BY 3")
    assert found == [(own.artifact_id, "reward-1", "brief"), (own.artifact_id, "reward-1", "helpful")]
    assert store.rows("SELECT response_id, uncertainty FROM scores WHERE criterion = 'brief' ORDER BY 1") == [
        ("r0", None),
        ("r1", 0.25),
    ]
    assert store.rows("SELECT prompt_id, split FROM run_prompts ORDER BY 1") == [
        ("p0", "heldout"),
        ("p1", "train"),
        ("p2", "train"),
    ]
    features = artifacts.by_name(store, "features", "smollm2")
    assert features is not None
    assert (features.path, features.details) == (str(folder / "features"), {"width": 8})
    ingest.ingest(store, "reward-1", [{**entry, "seq": entry["seq"] + 4} for entry in batch], 20)
    assert store.rows("SELECT count(*) FROM run_prompts") == [(3,)]
    assert store.rows("SELECT count(*) FROM scores") == [(4,)]


def test_scores_before_a_reward_model_are_refused(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    queue(store, folder, "reward-1", "reward", name="rm")
    parquet(store, folder / "s.parquet", SCORED)
    with pytest.raises(StoreError, match="before a reward model"):
        ingest.ingest(store, "reward-1", [line(1, "output", kind="scores", path="s.parquet", rows=4)], 10)
    assert runs.run_row(store, "reward-1").last_seq == 0


def test_metrics_of_policy_learning_have_one_name(tmp_path: Path) -> None:
    """What an earlier version stored, or a job that it started still says, is found under `policy/`."""
    path = tmp_path / "old.duckdb"
    with duckdb.connect(str(path)) as connection:
        migrate.bring_up_to_date(connection, path, fresh=True, folder=oldest(tmp_path / "m"))
        connection.execute(
            "INSERT INTO runs (run_id, kind, status, config) VALUES ('g', 'grpo', 'done', '{}')"
        )
        connection.execute("INSERT INTO metrics VALUES ('g', 1, 1, 'ppo/score', 0.5, now()::TIMESTAMP)")
        connection.execute("INSERT INTO metrics VALUES ('g', 1, 1, 'ppo/kl', 4.0, now()::TIMESTAMP)")
    with Store.open(path) as store:
        assert store.rows("SELECT name FROM metrics ORDER BY 1") == [("policy/kl",), ("policy/score",)]
        assert store.rows("SELECT score, kl FROM run_summary") == [(0.5, 4.0)]
        assert store.rows("SELECT sqrt_kl, proxy FROM overoptimisation") == [(2.0, 0.5)]
        ingest.ingest(store, "g", [line(2, "metrics", step=2, values={"ppo/score": 0.7})], 9)
        assert store.rows("SELECT name, value FROM metrics WHERE step = 2") == [("policy/score", 0.7)]


def test_a_score_says_whether_it_is_of_a_part(store: Store, tmp_path: Path) -> None:
    prompt = add_prompt(store)
    long, short, unknown = add_responses(store, prompt, "long", "short", "unknown")
    reward_model = model(store)
    scores.upsert(store, [NewScore(long, reward_model, 1.0, "x", cut=True)])
    folder = tmp_path / "run"
    queue(store, folder, "score-1", "score", reward_model="rm")
    parquet(
        store,
        folder / "new.parquet",
        f"SELECT '{short}' AS response_id, 2.0 AS score, 'x' AS backend, false AS cut",
    )
    parquet(store, folder / "old.parquet", f"SELECT '{unknown}' AS response_id, 3.0 AS score, 'x' AS backend")
    batch = [
        line(1, "output", kind="scores", path="new.parquet", rows=1),
        line(2, "output", kind="scores", path="old.parquet", rows=1),
    ]
    ingest.ingest(store, "score-1", batch, 10)
    assert store.rows("SELECT score, cut FROM response_scores ORDER BY 1") == [
        (1.0, True),
        (2.0, False),
        (3.0, None),
    ]


def test_evaluations_on_held_out_prompts_are_stored_and_forgotten_with_their_step(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    queue(store, folder, "ppo-1", "ppo", name="p")
    for step in (0, 2):
        parquet(
            store,
            folder / f"e{step}.parquet",
            f"SELECT {step} AS step, 'p1' AS prompt_id, 0 AS sample_index, 'hi' AS text, 1.5 AS score, "
            "0.5 AS objective, NULL::DOUBLE AS gold, 0.25 AS kl, 2 AS tokens, "
            "true AS stopped, '{}' AS components",
        )
    batch = [
        line(1, "output", kind="evaluations", path="e0.parquet", rows=1),
        line(2, "output", kind="evaluations", path="e2.parquet", rows=1),
    ]
    ingest.ingest(store, "ppo-1", batch, 10)
    assert store.rows("SELECT step, score, kl FROM evaluations ORDER BY 1") == [
        (0, 1.5, 0.25),
        (2, 1.5, 0.25),
    ]
    ingest.ingest(store, "ppo-1", [line(3, "started", resumed_from_step=1, device="cpu")], 20)
    assert store.rows("SELECT step FROM evaluations") == [(0,)]


def test_prompts_that_a_reward_model_held_out_are_marked(store: Store, tmp_path: Path) -> None:
    one, other = add_prompt(store, "one"), add_prompt(store, "other")
    for run, prompt, split in (
        ("reward-1", one, "heldout"),
        ("reward-1", other, "train"),
        ("ppo-1", other, "heldout"),
    ):
        store.write("INSERT INTO run_prompts VALUES ($r, $p, $s)", {"r": run, "p": prompt, "s": split})
    found = {}
    for name, by in (("none", None), ("one", ["reward-1"]), ("both", ["reward-1", "ppo-1"])):
        path = tmp_path / f"{name}.parquet"
        snapshots.write_prompts(store, path, heldout_by=by)
        found[name] = dict(store.rows("SELECT prompt_id, split FROM read_parquet(?)", [str(path)]))
    assert found == {
        "none": {one: None, other: None},
        "one": {one: "heldout", other: "train"},
        "both": {one: "heldout", other: "heldout"},
    }
