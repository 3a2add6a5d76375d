"""A bad file gets one clear sentence and nothing of it is stored."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage import prompts
from storage.errors import ImportFileError
from storage.interchange.importing import import_file
from storage.store import Store
from tests.storage.builders import write

GOOD = json.dumps({"prompt": "Q", "chosen": "a", "rejected": "b"}) + "\n"

MANY = json.dumps(dict.fromkeys(map(str, range(800_000))))  # more than is held whole


def refused(store: Store, path: Path, **more: Any) -> str:
    with pytest.raises(ImportFileError) as told:
        import_file(store, path, **more)
    counts = prompts.overview(store)
    assert (counts.prompts, counts.responses, counts.judgements, counts.policies, counts.annotators) == (
        0,
    ) * 5
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", "", "a.jsonl: the file is empty; nothing was imported."),
        ("a.jsonl", "\n\n", "a.jsonl: the file is empty"),
        ("a.csv", "\n", "a.csv: the file is empty"),
        ("a.csv", "prompt\n", "a.csv: there are no rows in it"),
        ("a.json", "[\n{}", "a.json: the JSON breaks off"),
        ("a.json", '[{"prompt": "Q"} {"prompt": "R"}]', "a.json: the JSON is broken"),
        ("a.json", '[{"prompt": "Q"}] more', "a.json: something else follows the JSON"),
        ("a.json", '[/* mine */ {"prompt": "Q"}]', "a.json: the JSON holds a comment"),
        pytest.param(
            "a.csv", "c," * 3000 + "c\n" + "1," * 3000 + "1\n", "more than 2,000 columns", id="wide"
        ),
        pytest.param("a.json", MANY, "more than 2,000 columns", id="wide object"),
        pytest.param("a.jsonl", "[" * 100_000 + "\n", "a.jsonl: the JSON is nested too deeply", id="nested"),
        ("a.jsonl", "oops\n", "line 1: it is not a JSON object"),
        ("a.csv", 'prompt\n"Q\nmore\n', "is never closed; is the file truncated?"),
        ("a.csv", "prompt,prompt\na,b\n", "two columns have the same name"),
        (
            "a.csv",
            "promt,source\na,b\n",
            'no column "prompt"; if "promt" is meant, rename it or import with --column prompt=promt',
        ),
        (
            "a.csv",
            "x,y\n1,2\n",
            'its columns fit no shape: none holds text that could be a prompt ("x" (numbers), "y" (numbers))',
        ),
        ("a.doc", "hello", "it is not known how to read this; files end in"),
        ("a.parquet", "PAR1 but no more", "this is not a whole Parquet file"),
    ],
)
def test_one_sentence(store: Store, tmp_path: Path, name: str, content: str, sentence: str) -> None:
    assert sentence in refused(store, write(tmp_path / name, content))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", GOOD * 3 + GOOD[:20], "line 4: the last line breaks off; the file seems truncated"),
        ("a.jsonl", GOOD + "oops\n" + GOOD, "line 2: it is not a JSON object"),
        ("a.jsonl", GOOD + "7\n", "line 2: it is a number where a JSON object is expected"),
        (
            "a.jsonl",
            GOOD * 3 + '{"prompt": "Q", "chosen": {"x": 5}, "rejected": "b"}\n',
            'line 4: "chosen" is an object where text',
        ),
        ("a.jsonl", GOOD + '{"prompt": "Q", "chosen": "a"}\n', 'line 2: there is no "rejected"'),
        ("a.jsonl", GOOD + '{"prompt": null, "chosen": "a", "rejected": "b"}\n', 'line 2: "prompt" is empty'),
        (
            "a.csv",
            "prompt,response,rank\nQ,a,1\nQ,b,2\nQ,c,3\nQ,d,first\n",
            'row 4: "rank" is not a number, as "first"',
        ),
        ("a.csv", "prompt,chosen,rejected\nQ,a,b\nQ,a\n", "row 2: it has 2 cells and the header has 3"),
    ],
)
def test_a_row_that_cannot_be_read_is_told_and_left_out(
    store: Store, tmp_path: Path, name: str, content: str, sentence: str
) -> None:
    path = write(tmp_path / name, content)
    assert f"{name}: {sentence}" in refused(store, path, strict=True)
    report = import_file(store, path)
    assert report.rows > 1
    place, reason = sentence.split(": ", 1)
    [left] = report.left_out
    assert (left.rows, left.places) == (1, (place,))
    assert left.reason.startswith(reason)


def test_too_large_a_share_of_bad_rows_refuses_the_file(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GOOD + "oops\n" * 2)
    told = refused(store, path)
    assert "2 of 3 rows cannot be read, most because it is not a JSON object (first line 2)" in told
    assert import_file(store, path, most_bad=0.7).judgements.added == 1


def test_a_missing_file_and_a_folder(store: Store, tmp_path: Path) -> None:
    assert refused(store, tmp_path / "no.jsonl") == f"There is no file {tmp_path / 'no.jsonl'}."
    assert "is a folder without a file that can be imported" in refused(store, tmp_path)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_binary_file(store: Store, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x7fELF\x00\x01\xff\xfe" + os.urandom(5000))
    sentence = refused(store, path)
    assert "binary" in sentence or "not a whole Parquet file" in sentence


def test_a_truncated_parquet_file(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    store.cursor().execute(f"COPY (SELECT 'Q' || i AS prompt FROM range(5000) r(i)) TO '{path}'")
    path.write_bytes(path.read_bytes()[:-200])
    assert "truncated" in refused(store, path)


def test_a_named_shape_and_columns_are_checked(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "prompt,chosenn,rejected\nQ,a,b\n")
    assert 'no column "chosen"; if "chosenn" is meant' in refused(store, path)
    assert 'no column "chossen"; did you mean "chosenn"?' in refused(
        store, path, columns={"chosen": "chossen"}
    )
    assert '"choosen" is not a role of a column; did you mean "chosen"?' in refused(
        store, path, columns={"choosen": "x"}
    )
    assert 'There is no shape "pear"' in refused(store, path, shape="pear")


def test_a_file_that_may_not_be_read(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GOOD)
    path.chmod(0o000)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    assert "cannot be read: Permission denied" in refused(store, path)


def test_an_error_late_in_the_file_leaves_nothing_and_the_next_import_works(
    store: Store, tmp_path: Path
) -> None:
    lines = [json.dumps({"prompt": f"Q{n}", "chosen": "a", "rejected": "b"}) for n in range(9000)]
    path = write(tmp_path / "a.jsonl", "\n".join([*lines, "{}"]) + "\n")
    assert "line 9001" in refused(store, path, strict=True)
    assert import_file(store, write(path, "\n".join(lines))).judgements.added == 9000


@pytest.mark.parametrize(
    ("line", "role", "column"),
    [
        ('{"prompt":"a","choosen":"b","rejected":"c"}', "chosen", "choosen"),
        ('{"prompt":"a","response":"b","rnk":1}', "rank", "rnk"),
        ('{"prompt":"a","responsess":["b","c"]}', "responses", "responsess"),
    ],
)
def test_a_misspelt_column_does_not_make_it_another_shape(
    store: Store, tmp_path: Path, line: str, role: str, column: str
) -> None:
    path = write(tmp_path / "a.jsonl", line + "\n")
    assert f'no column "{role}"; if "{column}" is meant' in refused(store, path)
    assert import_file(store, path, shape="prompts").prompts.added == 1
    assert store.row("SELECT count(*) FROM responses") == (0,)


@pytest.mark.parametrize("nested", [False, True], ids=["column", "object"])
@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_texts_of_columnar_files_that_are_not_utf8_are_rows_left_out(
    store: Store, tmp_path: Path, nested: bool, ending: str
) -> None:
    """No reader of Parquet checks them, and programs write Latin-1 there."""
    bad = {3, 4, 1200}
    answers = [b"fa\xe7ade" if n in bad else f"answer {n}".encode() for n in range(1500)]
    raw = pa.array(answers, pa.binary())
    texts = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    worse = pa.array([f"worse {n}" for n in range(1500)])
    prompts = pa.array([f"question {n}" for n in range(1500)])
    columns = {"prompt": prompts, "chosen": texts, "rejected": worse}
    if nested:
        columns = {
            "prompt": prompts,
            "pair": pa.StructArray.from_arrays([texts, worse], ["chosen", "rejected"]),
        }
    table, path = pa.table(columns), tmp_path / f"f.{ending}"
    if ending == "parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    roles = {"chosen": "pair.chosen", "rejected": "pair.rejected", "prompt": "prompt"} if nested else None
    report = import_file(store, path, columns=roles)
    column = "pair" if nested else "chosen"
    assert report.skipped == {f'"{column}" is not UTF-8': 3}
    assert report.left_out[0].places == ("row 4", "row 5", "row 1201")
    assert report.judgements.added == 1497
    assert store.row("SELECT count(*) FROM responses WHERE text LIKE 'fa%ade'") == (0,)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": 7, "chosen": "yes it is", "rejected": "no it is not"}, "--column prompt=prompt"),
        ({"prompt": 7, "response": "yes it is so"}, "--column prompt=prompt"),
        ({"prompt": 7}, "--column prompt=prompt"),
        ({"prompt": True, "chosen": "yes", "rejected": "no"}, '"prompt" holds true or false'),
        ({"prompt": None, "chosen": "yes", "rejected": "no"}, '"prompt" is empty'),
        ({"prompt": [1, 2], "chosen": "yes", "rejected": "no"}, '"prompt" holds lists of numbers'),
        ({"prompt": {"x": 1}, "chosen": "yes", "rejected": "no"}, '"prompt" holds objects'),
        ({"prompt": "What is it?", "responses": [1, 2]}, "--column responses=responses"),
    ],
)
def test_a_column_called_as_a_role_that_holds_no_texts_is_named(
    store: Store, tmp_path: Path, row: dict[str, Any], said: str
) -> None:
    lines = "".join(json.dumps({**row, "n": n}) + "\n" for n in range(3))
    assert said in refused(store, write(tmp_path / "a.jsonl", lines))


def test_numbers_are_prompts_where_somebody_says_so(store: Store, tmp_path: Path) -> None:
    rows = [{"prompt": n, "chosen": "yes", "rejected": "no"} for n in range(3)]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert import_file(store, path, columns={"prompt": "prompt"}).judgements.added == 3


PAIR = '{"prompt": "What is it?", "chosen": "yes it is", "rejected": "no"'


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.json", f"[{PAIR}}}, {PAIR}}},]", "a comma stands before “]”"),
        ("a.json", f"[{PAIR}, }}]", "one comma too many"),
        ("a.jsonl", f"{PAIR}, }}\n" * 3, "a comma stands before a closing bracket"),
    ],
)
def test_a_comma_too_many_is_told(
    store: Store, tmp_path: Path, name: str, content: str, sentence: str
) -> None:
    assert sentence in refused(store, write(tmp_path / name, content))


def test_lines_that_end_with_a_comma_are_rows(store: Store, tmp_path: Path) -> None:
    lines = "".join(PAIR.replace("it", f"it {n}") + "},\n" for n in range(3))
    assert import_file(store, write(tmp_path / "a.jsonl", lines)).judgements.added == 3


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_of_columns_that_differ_in_capitals_the_plain_one_is_taken_and_both_are_told(
    store: Store, tmp_path: Path, ending: str
) -> None:
    rows = [
        {"prompt": f"Why {n}?", "chosen": "good one", "rejected": "bad one", "Prompt": "x y", "CHOSEN": "z z"}
        for n in range(3)
    ]
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        write(path, "".join(json.dumps(row) + "\n" for row in rows))
    report = import_file(store, path)
    assert store.rows("SELECT DISTINCT text FROM responses ORDER BY text") == [("bad one",), ("good one",)]
    assert sum("differ in their writing alone" in warning for warning in report.warnings) == 2


def test_maps_of_parquet_are_objects(store: Store, tmp_path: Path) -> None:
    texts, marks = (pa.map_(pa.string(), kind) for kind in (pa.string(), pa.float64()))
    columns = {
        "prompt": [f"Why {n}?" for n in range(3)],
        "responses": pa.array([[("m1", "answer one"), ("m2", "answer two")]] * 3, texts),
        "ratings": pa.array([[("m2", 4.0), ("m1", 2.0)]] * 3, marks),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    report = import_file(store, tmp_path / "a.parquet")
    assert (report.responses.added, report.judgements.added) == (6, 3)
    best = """SELECT DISTINCT p.name FROM judgement_items JOIN responses USING (response_id)
              JOIN policies p USING (policy_id) WHERE rating = 4"""
    assert store.rows(best) == [("m2",)]
