"""A bad file gets one clear sentence and nothing of it is stored."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from storage import prompts
from storage.errors import ImportFileError
from storage.interchange.importing import import_file
from storage.store import Store
from tests.storage.builders import write

GOOD = json.dumps({"prompt": "Q", "chosen": "a", "rejected": "b"}) + "\n"


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
        ("a.jsonl", GOOD * 3 + GOOD[:20], "a.jsonl: the last line (4) breaks off; the file seems truncated"),
        ("a.jsonl", GOOD + "oops\n" + GOOD, "a.jsonl: line 2 is not a JSON object"),
        ("a.jsonl", GOOD + "7\n", "a.jsonl: line 2 is the number 7 where a JSON object is expected"),
        ("a.json", "[\n{}]", "a.json: this is one JSON list; JSON Lines has one object a line"),
        ("a.jsonl", "[" * 100_000 + "\n", "this is one JSON list"),
        (
            "a.jsonl",
            GOOD + '{"prompt": "Q", "chosen": 5, "rejected": "b"}\n',
            'line 2: "chosen" is the number 5 where text',
        ),
        ("a.jsonl", GOOD + '{"prompt": "Q", "chosen": "a"}\n', 'line 2: there is no "rejected"'),
        (
            "a.jsonl",
            GOOD + '{"prompt": null, "chosen": "a", "rejected": "b"}\n',
            'line 2: "prompt" is empty where text',
        ),
        (
            "a.csv",
            "prompt,response,rank\nQ,a,1\nQ,b,first\n",
            'row 2: "rank" is "first" where a whole number is expected',
        ),
        ("a.csv", "prompt,response,rank\nQ,a,0\n", "row 1: the rank is 0; ranks count from 1"),
        ("a.csv", "prompt,chosen,rejected\nQ,a\n", "row 1 has 2 cells and the header has 3"),
        ("a.csv", 'prompt\n"Q\nmore\n', "is never closed; is the file truncated?"),
        ("a.csv", "prompt,prompt\na,b\n", "two columns have the same name"),
        (
            "a.csv",
            "promt,source\na,b\n",
            'no column "prompt"; if "promt" is meant, rename it or import with --column prompt=promt',
        ),
        ("a.csv", "x,y\n1,2\n", 'its columns ("x" and "y") fit no shape'),
        ("a.txt", "hello", "it is not known how to read this; files end in"),
        ("a.parquet", "PAR1 but no more", "this is not a whole Parquet file"),
    ],
)
def test_one_sentence(store: Store, tmp_path: Path, name: str, content: str, sentence: str) -> None:
    assert sentence in refused(store, write(tmp_path / name, content))


def test_a_missing_file_and_a_folder(store: Store, tmp_path: Path) -> None:
    assert refused(store, tmp_path / "no.jsonl") == f"There is no file {tmp_path / 'no.jsonl'}."
    assert "is a folder" in refused(store, tmp_path)


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
    assert 'no column "chosen"; did you mean "chosenn"?' in refused(store, path, shape="pairs")
    assert 'no column "chossen"; did you mean "chosenn"?' in refused(
        store, path, columns={"chosen": "chossen"}
    )
    assert '"choosen" is no role of a column; did you mean "chosen"?' in refused(
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
    assert "line 9001" in refused(store, path)
    assert import_file(store, write(path, "\n".join(lines))).judgements.added == 9000


@pytest.mark.parametrize(
    ("line", "role", "column"),
    [
        ('{"prompt":"a","choosen":"b","rejected":"c"}', "chosen", "choosen"),
        ('{"prompt":"a","response":"b","rnk":1}', "rank", "rnk"),
        ('{"prompt":"a","Responses":["b","c"]}', "responses", "Responses"),
    ],
)
def test_a_misspelt_column_does_not_make_it_another_shape(
    store: Store, tmp_path: Path, line: str, role: str, column: str
) -> None:
    path = write(tmp_path / "a.jsonl", line + "\n")
    assert f'no column "{role}"; if "{column}" is meant' in refused(store, path)
    assert import_file(store, path, shape="prompts").prompts.added == 1
    assert store.row("SELECT count(*) FROM responses") == (0,)
