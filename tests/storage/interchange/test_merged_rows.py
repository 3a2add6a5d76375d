"""What several rows of a file say of one thing is told where only one of them can stand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from storage.interchange.importing import import_file
from storage.store import Store
from tests.storage.builders import write

Row = dict[str, Any]


def told(store: Store, tmp_path: Path, rows: list[Row]) -> str:
    path = write(tmp_path / "f.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return "\n".join(import_file(store, path).notes)


def pair(n: int, **more: Any) -> Row:
    return {"prompt": f"Question {n}?", "chosen": f"good {n}", "rejected": f"bad {n}", **more}


@pytest.mark.parametrize("others", [0, 1200], ids=["by rows", "as columns"])
def test_what_is_merged_is_told(store: Store, tmp_path: Path, others: int) -> None:
    filling = [pair(n + 10, subset="easy") for n in range(others)]
    rows = [
        pair(0, subset="easy"),
        pair(0, subset="hard", rejected="worse"),
        pair(1),
        pair(1),
        pair(1),
        *filling,
    ]
    notes = told(store, tmp_path, rows)
    assert (
        "another row of the file has made alike count once, with the first one's notes and metadata: 2"
        in notes
    )
    assert "have those of the first: 1" in notes


@pytest.mark.parametrize("others", [0, 1200], ids=["by rows", "as columns"])
def test_nothing_is_told_where_nothing_is_merged(store: Store, tmp_path: Path, others: int) -> None:
    rows = [
        pair(0, subset="easy"),
        pair(0, subset="easy", rejected="worse"),
        *(pair(n + 1) for n in range(others)),
    ]
    assert told(store, tmp_path, rows) == ""


def test_every_kind_of_thing_that_is_not_kept_is_told(store: Store, tmp_path: Path) -> None:
    more = {f"key_{n}": n for n in range(12)}
    rows = [
        {"messages": [{"role": "user", "content": "Why?", **more}, {"role": "assistant", "content": "So."}]}
    ]
    notes = told(store, tmp_path, rows)
    assert all(f'"{key}" of messages' in notes for key in more)


@pytest.mark.parametrize("others", [0, 1200], ids=["by rows", "as columns"])
def test_metadata_that_another_row_has_otherwise_is_told(store: Store, tmp_path: Path, others: int) -> None:
    def row(n: int, answer: str, topic: str) -> Row:
        return {"prompt": f"Question {n}?", "response": answer, "topic": topic}

    rows = [row(0, "so", "x"), row(0, "so", "y"), row(1, "so", "x"), row(1, "so", "x"), row(1, "no", "y")]
    notes = told(store, tmp_path, [*rows, *(row(n + 2, "so", "x") for n in range(others))])
    assert "with other metadata have that of the first: 1" in notes


@pytest.mark.parametrize("others", [0, 1200], ids=["by rows", "as columns"])
def test_what_is_said_of_judging_stays_where_nothing_is_judged(
    store: Store, tmp_path: Path, others: int
) -> None:
    def row(n: int, winner: str | None) -> Row:
        answers = {"response_a": "so", "response_b": "no"}
        return {"prompt": f"Question {n}?", **answers, "winner": winner, "annotator": "ana", "note": "why"}

    told(
        store,
        tmp_path,
        [row(0, None), row(1, "skip"), row(2, "a"), *(row(n + 3, "b") for n in range(others))],
    )
    kept = store.rows("SELECT text, metadata FROM prompts WHERE metadata IS NOT NULL ORDER BY text")
    assert [(text, json.loads(metadata)) for text, metadata in kept] == [
        ("Question 0?", {"annotator": "ana", "note": "why"}),
        ("Question 1?", {"annotator": "ana", "note": "why", "winner": "skip"}),
    ]


@pytest.mark.parametrize(
    ("columns", "more", "kept"),
    [
        ({"rating": "score"}, {"chosen": "a", "rejected": "b"}, "judgements"),
        ({"annotator": "score"}, {"response": "a"}, "responses"),
        ({"policy": "score"}, {}, "prompts"),
    ],
)
def test_a_role_that_rows_have_no_use_for_loses_nothing(
    store: Store, tmp_path: Path, columns: dict[str, str], more: Row, kept: str
) -> None:
    path = write(tmp_path / "f.jsonl", json.dumps({"prompt": "Why?", "score": 3.5, **more}) + "\n")
    report = import_file(store, path, columns=columns)
    assert store.row(f"SELECT metadata ->> '$.score' FROM {kept}") == ("3.5",)
    assert "policy" in columns or any("have no use for" in warning for warning in report.warnings)
