"""Labels of steps: of people, of files; what stands, what a run reads, what it says."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.steps import step_ends
from storage import steps
from storage.errors import StoreError
from storage.step_records import NewStepJudgement
from storage.store import Store
from storage.transfer import snapshots
from tests.storage.builders import add_prompt, add_responses

TEXT = "one\n\ntwo\nthree"
ENDS = tuple(step_ends(TEXT))


@pytest.fixture
def answered(store: Store) -> tuple[Store, str]:
    prompt = add_prompt(store, "How?")
    return store, add_responses(store, prompt, TEXT)[0]


def labels(store: Store, response: str) -> list[tuple[str, int, str, int]]:
    return [(one.annotator, one.step, one.text, one.label) for one in steps.labels(store, response)]


def test_the_newest_of_an_annotator_stands(answered: tuple[Store, str]) -> None:
    store, response = answered
    steps.record(store, NewStepJudgement(response, "ann", "\n", ENDS, (1, 1, 1)))
    steps.record(store, NewStepJudgement(response, "ann", "\n", ENDS, (1, -1, None)))
    steps.record(store, NewStepJudgement(response, "ben", "\n", ENDS, (0, None, None)))
    assert labels(store, response) == [
        ("ann", 0, "one\n\n", 1), ("ann", 1, "two\n", -1), ("ben", 0, "one\n\n", 0)
    ]  # fmt: skip
    found = steps.standing(store, "ann", response)
    assert found is not None
    assert found.labels == (1, -1, None)
    assert store.rows("SELECT count(*) FROM step_judgements") == [(3,)]
    steps.record(store, NewStepJudgement(response, "ann", "\n", (), ()))
    assert steps.standing(store, "ann", response) is None
    assert labels(store, response) == [("ben", 0, "one\n\n", 0)]
    with pytest.raises(StoreError, match="steps: 3, labels: 1"):
        steps.record(store, NewStepJudgement(response, "ann", "\n", ENDS, (1,)))


@pytest.mark.parametrize(
    ("ratings", "signs"), [((1.0, 0.0, 1.0), (1, -1, 1)), ((1.0, 0.0, -1.0), (1, 0, -1))]
)
def test_labels_of_files_are_read_on_their_own_scale(
    answered: tuple[Store, str], ratings: tuple[float, ...], signs: tuple[int, ...]
) -> None:
    store, response = answered
    texts = ("one\n", "two", "three")
    rows = [(response, n, text, rating) for n, (text, rating) in enumerate(zip(texts, ratings, strict=True))]
    for row in rows:
        store.write("INSERT INTO response_steps VALUES ($a, $b, $c, $d)", dict(zip("abcd", row, strict=True)))
    assert [(one.text, one.label, one.ends_at) for one in steps.labels(store, response)] == [
        (text, sign, end) for text, sign, end in zip(texts, signs, ENDS, strict=True)
    ]


def test_steps_that_do_not_make_up_their_response_are_left_out(answered: tuple[Store, str]) -> None:
    store, response = answered
    store.write("INSERT INTO response_steps VALUES ($r, 0, 'something else', 1)", {"r": response})
    assert steps.labels(store, response) == []


def test_a_run_reads_one_row_a_response_and_annotator(answered: tuple[Store, str], tmp_path: Path) -> None:
    store, response = answered
    steps.record(store, NewStepJudgement(response, "ann", "\n", ENDS, (1, None, -1)))
    steps.record(store, NewStepJudgement(response, "ai:judge", "\n", ENDS, (1, 1, 1)))
    written = snapshots.write_steps(store, tmp_path / "steps.parquet", kinds=("human", "import"))
    (row,) = pq.read_table(written.path).to_pylist()
    assert (row["annotator"], row["ends"], row["labels"]) == ("ann", [ENDS[0], ENDS[2]], [1, -1])
    assert row["text"] == TEXT
    both = snapshots.write_steps(store, tmp_path / "both.parquet")
    assert both.rows == 2
    named = snapshots.write_steps(store, tmp_path / "one.parquet", annotator="ai:judge", kinds=("human",))
    assert named.rows == 1


def test_scores_of_steps_come_in_and_are_replaced(answered: tuple[Store, str], tmp_path: Path) -> None:
    store, response = answered
    path = tmp_path / "steps.parquet"
    for score in (0.5, 0.75):
        rows = [{"response_id": response, "step": 0, "ends_at": 5, "score": score}]
        pq.write_table(pa.Table.from_pylist(rows), path)
        steps.insert_scores_from_parquet(store, path, reward_model_id="fm")
    (found,) = steps.scores(store, response, "fm")
    assert (found.ends_at, found.score) == (5, 0.75)
