"""What is exported is what is imported again."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import prompts, responses
from storage.errors import NotFoundError, StoreError
from storage.import_records import Count
from storage.interchange.clean import clean_text
from storage.interchange.exporting import export, export_query
from storage.interchange.importing import import_file
from storage.judgements import record
from storage.records import JudgedItem, NewJudgement
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses, judge

PAIRS = "SELECT prompt_id, winner_id, loser_id, annotator FROM preference_pairs ORDER BY ALL"
texts = st.text(max_size=30).map(clean_text)
odd = st.sampled_from(
    ['[{"role":"user","content":"x"}]', "=1+1", '"', ",;\t", "\n", "null", "{}", "[1]", "", "\\N", "Human: a"]
)
said = st.one_of(texts, odd)


@given(st.text(alphabet=st.characters(), max_size=60))
def test_cleaning_twice_changes_nothing_and_leaves_no_control(text: str) -> None:
    clean = clean_text(text)
    assert clean_text(clean) == clean
    assert not any(
        (ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in clean
    )
    assert not set(clean) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    clean.encode()


@settings(max_examples=15, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.lists(said.filter(str.strip), min_size=1, max_size=3), said, said, st.integers(1, 2)),
        max_size=4,
    ),
    ending=st.sampled_from(["jsonl", "csv", "tsv", "parquet"]),
)
def test_pairs_come_back(rows: list[tuple[list[str], str, str, int]], ending: str) -> None:
    with (
        Store.open(":memory:") as one,
        Store.open(":memory:") as two,
        tempfile.TemporaryDirectory() as folder,
    ):
        for turns, better, worse, annotator in rows:
            if better != worse:
                chat = [
                    {"role": ("user", "assistant")[(len(turns) - 1 - n) % 2], "content": turn}
                    for n, turn in enumerate(turns)
                ]
                prompt = prompts.add(one, chat)
                a, b = (responses.add(one, prompt, "base", text) for text in (better, worse))
                items = (JudgedItem(a, 1), JudgedItem(b, 2))
                record(one, NewJudgement(prompt, f"annotator {annotator}", "pair", items))
        path = Path(folder) / f"pairs.{ending}"
        expected = one.rows(PAIRS)
        assert export(one, "pairs", path) == len(expected)
        if expected:
            import_file(two, path)
        assert set(two.rows(PAIRS)) == set(expected)


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl"])
def test_tables_and_views_are_exported(store: Store, tmp_path: Path, ending: str) -> None:
    prompt = add_prompt(store)
    a, b = add_responses(store, prompt, "one", "two\nlines")
    judge(store, prompt, {a: 1, b: 2})
    path = tmp_path / f"r.{ending}"
    assert export(store, "preference_pairs", path) == 1
    assert export(store, "responses", path) == 2
    reader = {"parquet": "read_parquet", "jsonl": "read_json"}.get(ending, "read_csv")
    assert store.rows(f'SELECT "text" FROM {reader}(?) ORDER BY 1', [str(path)]) == [
        ("one",),
        ("two\nlines",),
    ]
    assert export_query(store, "SELECT 1 AS n -- a comment", path) == 1
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_export_that_cannot_be_made_is_told(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="did you mean “responses”"):
        export(store, "respones", tmp_path / "a.csv")
    with pytest.raises(StoreError, match=r"names no format that can be written; end the name in \.csv"):
        export(store, "responses", tmp_path / "a.xlsx")
    with pytest.raises(StoreError, match="there is no folder"):
        export(store, "pairs", tmp_path / "no" / "a.csv")


def test_a_failed_export_leaves_the_old_file(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(Exception, match="nowhere"):
        export_query(store, "SELECT * FROM nowhere", path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exported_table_of_pairs_adds_nothing_where_it_came_from(store: Store, tmp_path: Path) -> None:
    prompt = add_prompt(store)
    a, b = add_responses(store, prompt, "one", "two")
    record(store, NewJudgement(prompt, "imported", "pair", (JudgedItem(a, 1), JudgedItem(b, 2))))
    export(store, "pairs", tmp_path / "p.jsonl")
    report = import_file(store, tmp_path / "p.jsonl")
    assert (report.prompts, report.responses) == (Count(0, 1), Count(0, 2))


@pytest.mark.parametrize("what", ["responses", "pairs"])
@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_an_exported_file_is_private(store: Store, tmp_path: Path, what: str, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    export(store, what, path)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("what", ["responses", "pairs"])
def test_a_folder_that_may_not_be_written_is_told(
    store: Store, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(StoreError, match="it is a folder"):
        export(store, what, tmp_path / "x.csv")
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(StoreError, match="is read-only"):
        export(store, what, tmp_path / "a.csv")
