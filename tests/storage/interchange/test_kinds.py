"""Every layout of a public data set or a tool comes in whole, and in every container alike."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.errors import ImportFileError
from storage.interchange.containers import json_document
from storage.interchange.importing import import_file
from storage.store import Store
from tests.storage.builders import write
from tests.storage.interchange.further_kinds import FURTHER
from tests.storage.interchange.kinds import BAD, GOOD, KINDS, PAIRS, Kind, Q
from tests.storage.interchange.nastier_kinds import NASTIER
from tests.storage.interchange.public_kinds import PUBLIC
from tests.storage.interchange.survey_kinds import SURVEYS
from tests.storage.interchange.tool_kinds import TOOLS, argilla, rated, said, studio

COUNTS = """
SELECT (SELECT count(*) FROM prompts), (SELECT count(*) FROM responses),
       (SELECT count(*) FROM current_judgements),
       (SELECT count(*) FROM preference_pairs WHERE criterion = 'overall'),
       (SELECT count(*) FROM preference_ties WHERE criterion = 'overall')"""
ROWS: list[dict[str, Any]] = [{"prompt": Q[n], "chosen": GOOD[n], "rejected": BAD[n]} for n in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def texts(store: Store) -> str:
    found = store.rows("SELECT messages::VARCHAR FROM prompts UNION ALL SELECT text FROM responses")
    return "\n".join(text for (text,) in found)


@pytest.mark.parametrize(
    "kind", [*KINDS, *FURTHER, *NASTIER, *PUBLIC, *TOOLS, *SURVEYS], ids=lambda kind: kind.name
)
def test_a_layout_comes_in_whole(store: Store, tmp_path: Path, kind: Kind) -> None:
    report = import_file(store, write(tmp_path / "f.jsonl", "".join(json.dumps(r) + "\n" for r in kind.rows)))
    assert store.row(COUNTS) == kind.counts
    assert kind.contains in texts(store)
    assert not kind.absent or kind.absent not in texts(store)
    assert not kind.said or any(kind.said in warning for warning in report.warnings)
    named = {column.column for column in report.columns}
    assert report.preset or named == {key for row in kind.rows for key in row}, "a column is not told of"


def table(delimiter: str) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(ROWS[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return out.getvalue()


VIEWER = {
    "features": [],
    "rows": [{"row_idx": n, "row": r, "truncated_cells": []} for n, r in enumerate(ROWS)],
}
COLUMNS = {key: [row[key] for row in ROWS] for key in ROWS[0]}
CONTAINERS: dict[str, bytes] = {
    "a.json": json.dumps(ROWS, indent=1).encode(),
    "two_lists.json": f"{json.dumps(ROWS[:2])}\n{json.dumps(ROWS[2:])}".encode(),
    "wrapped.json": json.dumps({"version": 2, "examples": ROWS}).encode(),
    "columns.json": json.dumps(COLUMNS).encode(),
    "pandas.json": json.dumps({k: {str(n): v for n, v in enumerate(c)} for k, c in COLUMNS.items()}).encode(),
    "split.json": json.dumps({"columns": list(COLUMNS), "data": [list(r.values()) for r in ROWS]}).encode(),
    "parts.json": json.dumps({"helpful": ROWS[:2], "harmless": ROWS[2:]}).encode(),
    "header.json": json.dumps({"header": list(COLUMNS), "rows": [list(r.values()) for r in ROWS]}).encode(),
    "inner_splits.json": json.dumps({"name": "x", "splits": {"train": ROWS[:2], "test": ROWS[2:]}}).encode(),
    "deeper.json": json.dumps({"meta": {"v": 1}, "payload": {"items": ROWS}}).encode(),
    "splits.json": json.dumps({"train": ROWS[:2], "test": ROWS[2:]}).encode(),
    "names.json": json.dumps({f"q{n}": row for n, row in enumerate(ROWS)}).encode(),
    "viewer.json": json.dumps(VIEWER).encode(),
    "pretty.json": "\n".join(json.dumps(row, indent=2) for row in ROWS).encode(),
    "bom.jsonl": b"\xef\xbb\xbf" + LINES.encode(),
    "wide.jsonl": LINES.encode("utf-16"),
    "a.jsonl.gz": gzip.compress(LINES.encode()),
    "a.jsonl.bz2": bz2.compress(LINES.encode()),
    "a.json.xz": lzma.compress(json.dumps(ROWS).encode()),
    "semicolon.csv": table(";").encode(),
    "excel.csv": ("sep=;\r\n" + table(";")).encode("utf-8-sig"),
    "wide.csv": table("\t").encode("utf-16"),
    "a.csv.gz": gzip.compress(table(",").encode()),
    "no_name": LINES.encode(),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_gives_the_same_rows(store: Store, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(CONTAINERS[name])
    import_file(store, path)
    assert store.row(COUNTS) == PAIRS
    assert all(text in texts(store) for row in ROWS for text in row.values())


@pytest.mark.parametrize(
    ("name", "column"), [("splits.json", "split"), ("parts.json", "subset"), ("wrapped.json", "split")]
)
def test_a_large_document_is_read_to_its_last_list(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, column: str
) -> None:
    monkeypatch.setattr(json_document, "WHOLE", 10)
    monkeypatch.setattr(json_document, "CHUNK", 10)
    (tmp_path / name).write_bytes(CONTAINERS[name])
    import_file(store, tmp_path / name)
    assert store.row(COUNTS) == PAIRS
    wanted: dict[str, set[str | None]] = {
        "splits.json": {"train", "test"},
        "parts.json": {"helpful", "harmless"},
    }
    assert {value for (value,) in store.rows(f"SELECT {column} FROM prompts")} == wanted.get(name, {None})


@pytest.mark.parametrize("rows", [3, 1200], ids=["by rows", "as columns"])
def test_a_file_of_another_shape_beside_others_is_not_lost(store: Store, tmp_path: Path, rows: int) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    pairs = [{"prompt": f"{Q[0]} {n}", "chosen": GOOD[0], "rejected": BAD[0]} for n in range(rows)]
    write(folder / "a.jsonl", "".join(json.dumps(row) + "\n" for row in pairs))
    write(
        folder / "b.jsonl",
        json.dumps({"prompt": Q[1], "response_a": GOOD[1], "response_b": BAD[1], "winner": "a"}),
    )
    with pytest.raises(ImportFileError, match=r'no row of b\.jsonl can be read .*there is no "chosen"'):
        import_file(store, folder)
    assert store.row(COUNTS) == (0, 0, 0, 0, 0)
    import_file(store, folder, most_bad=1)
    assert store.row(COUNTS) == (rows, 2 * rows, rows, rows, 0)


def test_folders_in_a_folder_are_subsets(store: Store, tmp_path: Path) -> None:
    for place, row in zip(("helpful/train", "helpful/test", "harmless/train"), ROWS, strict=True):
        path = tmp_path / "set" / "data" / f"{place}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, json.dumps(row))
    import_file(store, tmp_path / "set")
    parts = store.rows("SELECT subset, split FROM prompts ORDER BY ALL")
    assert parts == [("harmless", "train"), ("helpful", "test"), ("helpful", "train")]


def test_a_broken_letter_costs_its_line_and_not_the_file(store: Store, tmp_path: Path) -> None:
    lines = LINES.replace("Question", "Größe") + '{"prompt": "\xff", "chosen": "a", "rejected": "b"}\n'
    (tmp_path / "a.jsonl").write_bytes(lines.encode().replace("\xff".encode(), b"\xff") + LINES.encode()[:-2])
    report = import_file(store, tmp_path / "a.jsonl")
    assert report.judgements.added == 5
    assert report.skipped == {
        "it is not UTF-8 text": 1,
        "the last line breaks off; the file seems truncated": 1,
    }


def test_zstd_folders_patterns_and_several_files(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.zst").write_bytes(pa.compress(LINES.encode(), "zstd", asbytes=True))
    import_file(store, tmp_path / "a.jsonl.zst")
    folder = tmp_path / "set" / "data"
    folder.mkdir(parents=True)
    (tmp_path / "set" / "README.md").write_text("---\nlicense: mit\npretty_name: A set\n---\nwords")
    for n, row in enumerate(ROWS):
        pq.write_table(pa.Table.from_pylist([row]), folder / f"train-0000{n}-of-00003.parquet")
    for named in (tmp_path / "set", str(folder / "*.parquet"), sorted(folder.iterdir())):
        with Store.open(":memory:") as other:
            import_file(other, named)
            assert other.row(COUNTS) == PAIRS
            assert other.rows("SELECT DISTINCT split FROM prompts") == [("train",)]
    with Store.open(":memory:") as other:
        import_file(other, tmp_path / "set")
        assert other.rows("SELECT licence, origin, rows FROM imports") == [("mit", "A set", 3)]


def test_a_data_set_saved_to_disk(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "saved" / "test"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    (folder / "dataset_info.json").write_text('{"license": "cc0"}')
    batch = pa.Table.from_pylist(ROWS)
    with pa.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), batch.schema) as stream:
        stream.write_table(batch)
    import_file(store, tmp_path / "saved")
    assert store.row(COUNTS) == PAIRS
    assert store.rows("SELECT DISTINCT split FROM prompts") == [("test",)]
    assert store.row("SELECT licence FROM imports") == ("cc0",)


def test_plain_text_is_one_prompt_a_line(store: Store, tmp_path: Path) -> None:
    import_file(store, write(tmp_path / "p.txt", "One?\n\nTwo?\n"))
    assert [t for (t,) in store.rows("SELECT text FROM prompts ORDER BY rowid")] == ["One?", "Two?"]


def test_text_of_another_encoding_asks_and_is_then_read(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("prompt,response\nCafé?,déjà\n".encode("latin-1"))
    with pytest.raises(ImportFileError, match=r"is not UTF-8 .* --encoding cp1252"):
        import_file(store, path)
    import_file(store, path, encoding="latin-1")
    assert "Café?" in texts(store)


def test_steps_are_steps_of_one_response(store: Store, tmp_path: Path) -> None:
    row = {"prompt": "1+1?", "completions": ["First.", "Then."], "labels": [True, False]}
    import_file(store, write(tmp_path / "s.jsonl", json.dumps(row) + "\n"))
    assert store.rows("SELECT step, text, label FROM response_steps ORDER BY step") == [
        (0, "First.", 1),
        (1, "Then.", 0),
    ]
    assert store.rows("SELECT text FROM responses") == [("First.\nThen.",)]


def test_ids_references_strength_and_metadata_are_kept(store: Store, tmp_path: Path) -> None:
    row = {
        "id": "q7",
        "prompt": "1+1?",
        "ground_truth": "2",
        "category": "math",
        "split": "test",
        "response_a": "2",
        "response_b": "3",
    }
    row |= {"preference": "A is much better", "worker_country": "FR"}
    import_file(store, write(tmp_path / "s.jsonl", json.dumps(row) + "\n"))
    assert store.row("SELECT external_id, reference, subset, split FROM prompts") == (
        "q7",
        "2",
        "math",
        "test",
    )
    assert store.row("SELECT strength, metadata ->> '$.worker_country' FROM judgements") == (3.0, "FR")


def test_tool_calls_are_kept_and_shown(store: Store, tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    prompt = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "12C", "tool_call_id": "1"},
    ]
    import_file(
        store, write(tmp_path / "t.jsonl", json.dumps({"prompt": prompt, "response": "Cold."}) + "\n")
    )
    [(messages, text)] = store.rows("SELECT messages, text FROM prompts")
    assert json.loads(messages)[1]["tool_calls"] == [call]
    assert json.loads(messages)[2]["tool_call_id"] == "1"
    assert "[calls weather({})]" in text


def test_a_response_rated_twice_by_one_annotator_keeps_both(store: Store, tmp_path: Path) -> None:
    rated = [{"prompt": "Q", "response": r, "rating": n} for r, n in (("a", 1), ("b", 2), ("a", 5), ("b", 2))]
    import_file(store, write(tmp_path / "r.jsonl", "".join(json.dumps(r) + "\n" for r in rated)))
    assert store.rows("SELECT rating FROM judgement_items ORDER BY 1") == [(1.0,), (2.0,), (5.0,)]


def test_a_column_that_looks_like_a_verdict_is_told_loudest(store: Store, tmp_path: Path) -> None:
    row = {
        "prompt": "Q",
        "chosen": "a",
        "rejected": "b",
        "human_rating": 4,
        "context": "long ago, far away",
        "topic": "x",
    }
    report = import_file(store, write(tmp_path / "p.jsonl", json.dumps(row) + "\n"))
    told = " ".join(report.warnings)
    assert '"human_rating" looks like a verdict' in told
    assert "long ago" in texts(store)
    assert "topic" not in told
    assert ("topic", "metadata of the judgement") in [(c.column, c.became) for c in report.columns]


def test_a_column_seen_late_is_told(store: Store, tmp_path: Path) -> None:
    rows = [*({"prompt": f"Question {n}?"} for n in range(400)), {"prompt": "Last?", "grade": "A"}]
    report = import_file(store, write(tmp_path / "p.jsonl", "".join(json.dumps(r) + "\n" for r in rows)))
    assert [c.became for c in report.columns if c.column == "grade"] == ["metadata; first in line 401"]
    assert store.row("SELECT metadata ->> '$.grade' FROM prompts WHERE text = 'Last?'") == ("A",)


def test_what_a_tool_keeps_beside_verdicts_is_kept(store: Store, tmp_path: Path) -> None:
    """Scores of suggestions, what was discarded or cancelled, and a field called as a column of ours."""
    kept = argilla(0, {"best": [said("response_a"), said("response_b", "u2", "discarded")]})
    kept["suggestions"] = {"best": {"value": "response_b", "score": 0.8, "agent": "m"}}
    kept["fields"]["annotator"] = "a field, and nobody"
    task = studio(1, {"completed_by": 1, "result": [rated("stars", "a", 5)]}, total_annotations=2)
    task["annotations"].append({"completed_by": 2, "was_cancelled": True, "result": [rated("stars", "a", 1)]})
    for name, row in (("a.json", kept), ("b.json", task)):
        import_file(store, write(tmp_path / name, json.dumps([row])))
    metadata = dict(
        store.rows("SELECT name, metadata::VARCHAR FROM judgements JOIN annotators USING (annotator_id)")
    )
    assert metadata.keys() == {"u1", "ai:m", "annotator 1"}
    assert '"suggestion_confidence":{"best":0.8}' in metadata["ai:m"].replace(" ", "")
    assert all("u2" in metadata[who] and "a field, and nobody" in metadata[who] for who in ("u1", "ai:m"))
    assert "cancelled" in metadata["annotator 1"]
    assert "total_annotations" in metadata["annotator 1"]
