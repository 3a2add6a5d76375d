"""A name that stands twice beside itself: neither value goes without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import ImportFileError
from storage.interchange.containers import json_document
from storage.interchange.containers.twice import in_line, suspected
from storage.interchange.importing import import_file
from storage.interchange.mapping.cells import parsed
from storage.store import Store
from tests.storage.builders import write

GOOD = '{"prompt": "Why?", "chosen": "so", "rejected": "no"}'
TWICE = '{"prompt": "Who?", "chosen": "I", "rejected": "no", "chosen": "you"}'
INSIDE = '{"prompt": "What?", "chosen": "it", "rejected": "no", "about": {"a": 1, "a": 2}}'
ALIKE = '{"prompt": "When?", "chosen": "now", "chosen": "now", "rejected": "no"}'
LINES = [
    GOOD,
    ALIKE,
    TWICE,
    INSIDE,
    '{"prompt" :"How?","chosen":"{\\"a\\": 1}", "rejected":"no"}',
    GOOD.replace("y", "ence"),
]
FILES = {
    "a.jsonl": "\n".join(LINES),
    "a.json": f"[{','.join(LINES)}]",
    "b.json": f'{{"rows": [{",".join(LINES)}]}}',
}


@pytest.mark.parametrize("name", FILES)
def test_rows_that_say_two_things_by_one_name_are_left_out(store: Store, tmp_path: Path, name: str) -> None:
    report = import_file(store, write(tmp_path / name, FILES[name]))
    assert report.judgements.added == 4
    assert sum(report.skipped.values()) == 2
    assert {reason.split(" in ")[0] for reason in report.skipped} == {
        '"chosen" stands twice',
        '"a" stands twice',
    }


@pytest.mark.parametrize("whole", [10, json_document.WHOLE], ids=["streamed", "whole"])
def test_parts_of_a_file_with_one_name_are_refused(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int
) -> None:
    monkeypatch.setattr(json_document, "WHOLE", whole)
    monkeypatch.setattr(json_document, "CHUNK", 10)
    path = write(tmp_path / "a.json", f'{{"train": [{GOOD}], "train": [{ALIKE}]}}')
    with pytest.raises(ImportFileError, match='"train" stands twice in its outermost object'):
        import_file(store, path)


def test_columns_with_one_name_are_refused(store: Store, tmp_path: Path) -> None:
    columns = [pa.array(["Why?"]), pa.array(["so"]), pa.array(["no"]), pa.array(["yes"])]
    table = pa.table(columns, names=["prompt", "chosen", "rejected", "chosen"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ImportFileError, match='two columns are called "chosen"'):
        import_file(store, tmp_path / "a.parquet")


def test_cells_are_told_that_no_column_is_there_for(store: Store, tmp_path: Path) -> None:
    names = ["prompt", "chosen", "rejected"]
    table = {"columns": names, "data": [["Why?", "so", "no"], ["Who?", "I", "no", "a fourth"]]}
    report = import_file(store, write(tmp_path / "a.json", json.dumps(table)))
    assert report.skipped == {"it has 4 cells and the header has 3": 1}


@pytest.mark.parametrize(
    ("text", "said"), [('"hello"', "text"), ("12", "a number"), ("null", "empty"), ("{oops", None)]
)
def test_a_document_without_rows_is_told_for_what_it_is(
    store: Store, tmp_path: Path, text: str, said: str | None
) -> None:
    with pytest.raises(ImportFileError) as error:
        import_file(store, write(tmp_path / "a.json", text))
    assert ("is not JSON" in str(error.value)) == (said is None and not text.startswith("{"))
    assert said is None or f"it holds {said} where rows are expected" in str(error.value)


NAMES = st.sampled_from(["a", "b", "chosen"])


def test_json_in_a_cell_that_says_two_things_by_one_name_stays_text(store: Store, tmp_path: Path) -> None:
    about = '{"a": 1, "a": 2}'
    row = {"prompt": "Why?", "chosen": "so", "rejected": "no", "about": about}
    import_file(store, write(tmp_path / "a.jsonl", json.dumps(row)))
    assert store.row("SELECT metadata ->> '$.about' FROM judgements") == (about,)
    assert parsed(about) is None
    assert parsed('{"a": 1, "a": 1}') == {"a": 1}


SPACED = st.sampled_from([":", ": ", " : ", "\t:"])
JSON = st.recursive(
    st.integers(0, 1) | st.text('ab":,{}\\', max_size=5),
    lambda v: st.lists(v, max_size=3) | st.lists(st.tuples(NAMES, SPACED, v), max_size=3).map(tuple),
    max_leaves=8,
)


def written(value: Any) -> str:
    """JSON in which a tuple of names, colons and values is an object."""
    if isinstance(value, tuple):
        return "{" + ", ".join(f"{json.dumps(n)}{colon}{written(v)}" for n, colon, v in value) + "}"
    return f"[{', '.join(map(written, value))}]" if isinstance(value, list) else json.dumps(value)


def lost(value: Any) -> bool:
    """Whether reading it as usual loses a value."""
    if isinstance(value, tuple):
        seen: dict[str, str] = {}
        return any(
            seen.setdefault(n, json.dumps(json.loads(written(v)))) != json.dumps(json.loads(written(v)))
            for n, _, v in value
        ) or any(lost(v) for _, _, v in value)
    return isinstance(value, list) and any(map(lost, value))


@given(st.lists(st.tuples(NAMES, SPACED, JSON), max_size=4).map(tuple))
def test_nothing_is_lost_without_suspicion(value: Any) -> None:
    line = written(value).encode()
    found = in_line(line)
    assert not lost(value) or found is not None
    assert found is None or suspected(line, json.loads(line))
