"""Files that leave: anonymous, as a folder, for a spreadsheet; and what cannot be written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from storage.errors import FileNameError, NotFoundError, StoreError
from storage.interchange.formats.registry import BY_NAME, FORMATS, formats_table
from storage.interchange.formats.writing import export_as
from storage.interchange.importing import import_file
from storage.store import Store
from tests.storage.builders import add_prompt, add_responses, judge


@pytest.mark.parametrize("name", [f.name for f in FORMATS])
def test_anonymous_files_name_nobody(store: Store, tmp_path: Path, name: str) -> None:
    path = tmp_path / "in.jsonl"
    secret = {"annotator": "Ana Secret", "note": "Secret note", "source": "secret.org", "id": "secret-1"}
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "chosen_score": 5, "rejected_score": 2}
    path.write_text(json.dumps({**row, **secret}) + "\n")
    import_file(store, path, source="secret-file")
    solution = {
        "prompt": "p",
        "completions": ["a"],
        "labels": [True],
        "id": "secret-2",
        "source": "secret.org",
    }
    path.write_text(json.dumps(solution) + "\n")
    import_file(store, path, preset="stepwise")
    target = tmp_path / "out.json"
    done = export_as(store, BY_NAME[name].what, target, name, anonymous=True)
    assert done.rows
    assert "secret" not in target.read_text().lower()


def test_a_folder_is_parquet_with_a_card(store: Store, tmp_path: Path) -> None:
    rows = [
        {"prompt": f"p{n}", "chosen": "a", "rejected": "b", "split": split}
        for n, split in enumerate(["test", "train", None, "no name!"])
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    import_file(store, tmp_path / "in.jsonl")
    folder = tmp_path / "card | of *mine*"
    assert export_as(store, "pairs", folder, "trl-conversational").rows == 4
    files = sorted(path.name for path in (folder / "data").iterdir())
    assert files == [f"{split}-00000-of-00001.parquet" for split in ("no_name", "test", "train")]
    assert (
        parquet.read_table(folder / "data" / files[2])["chosen"].to_pylist()
        == [[{"role": "assistant", "content": "a"}]] * 2
    )
    yaml = pytest.importorskip("yaml")
    front = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    assert front["pretty_name"] == folder.name
    assert {d["split"] for d in front["configs"][0]["data_files"]} == {"no_name", "test", "train"}
    assert all(list(folder.glob(d["path"])) for d in front["configs"][0]["data_files"])
    with Store.open(":memory:") as two:
        assert import_file(two, folder / "data").judgements.added == 4
    modes = {path.stat().st_mode & 0o077 for path in [folder, *folder.rglob("*")]}
    assert modes == {0}
    with pytest.raises(FileNameError, match="with files in it"):
        export_as(store, "pairs", folder, "arena")


@pytest.mark.parametrize(
    ("what", "name", "column", "value"),
    [
        ("pairs", "trl-preference", "chosen", "one"),
        ("pairs", "trl-conversational", "chosen", [{"role": "assistant", "content": "one"}]),
        ("pairs", "arena", "model_a", "base"),
        ("prompts", "trl-prompts", "prompt", [{"role": "user", "content": "Why?"}]),
        ("responses", "trl-unpaired", "completion", [{"role": "assistant", "content": "one"}]),
    ],
)
def test_a_folder_is_read_by_datasets(
    store: Store, tmp_path: Path, what: str, name: str, column: str, value: object
) -> None:
    """By the package itself, where it is installed: every split, and what stands in the rows."""
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    for question, split in (("Why?", "train"), ("How?", "test")):
        prompt = add_prompt(store, question)
        store.write("UPDATE prompts SET split = $split WHERE prompt_id = $id", {"split": split, "id": prompt})
        a, b = add_responses(store, prompt, "one", "two")
        judge(store, prompt, {a: 1, b: 2})
    done = export_as(store, what, tmp_path / "d", name)
    loaded = datasets.load_dataset(str(tmp_path / "d"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "test"}
    assert sum(part.num_rows for part in loaded.values()) == done.rows
    assert value in list(loaded["train"][column])


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_spreadsheet_runs_no_cell(store: Store, tmp_path: Path, ending: str) -> None:
    prompt = add_prompt(store, "=cmd()")
    for better, worse in (("+1", "@x"), ("-1", "\tx"), ("fine", "'=x")):
        a, b = add_responses(store, prompt, better, worse)
        judge(store, prompt, {a: 1, b: 2})
    path = tmp_path / f"s.{ending}"
    export_as(store, "pairs", path, "trl-preference", spreadsheet=True)
    import csv

    with path.open(newline="") as file:
        rows = list(csv.reader(file, delimiter="\t" if ending == "tsv" else ","))
    assert len(rows) == 4
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t"))]
    assert {row[1] for row in rows[1:]} == {"'+1", "'-1", "fine"}
    with pytest.raises(FileNameError, match="for a spreadsheet"):
        export_as(store, "pairs", tmp_path / "s.jsonl", "trl-preference", spreadsheet=True)


@pytest.mark.parametrize(
    ("what", "file", "name", "error", "words"),
    [
        ("pairs", "a.jsonl", "trl-prefrence", NotFoundError, "did you mean “trl-preference”"),
        ("prompts", "a.jsonl", "arena", NotFoundError, "made of pairs"),
        ("pairs", "a.xlsx", "arena", FileNameError, "folder of Parquet files"),
        ("responses", "a.csv", "argilla", FileNameError, r"end the name in \.json"),
        ("pairs", "no/a.csv", "arena", FileNameError, "there is no folder"),
    ],
)
def test_what_cannot_be_written_is_told(
    store: Store, tmp_path: Path, what: str, file: str, name: str, error: type[StoreError], words: str
) -> None:
    with pytest.raises(error, match=words):
        export_as(store, what, tmp_path / file, name)
    assert not list(tmp_path.iterdir())


def test_a_failed_export_leaves_the_old_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("old")
    prompt = add_prompt(store)
    a, b = add_responses(store, prompt, "one", "two")
    judge(store, prompt, {a: 1, b: 2})

    def full(*_: Any, **__: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("storage.interchange.formats.writing.json.dumps", full)
    with pytest.raises(StoreError, match="No space left"):
        export_as(store, "pairs", path, "trl-preference")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_table_of_formats_is_the_code_s() -> None:
    text = (Path(__file__).parents[3] / "docs/formats.md").read_text(encoding="utf-8")
    assert formats_table() in text, "write the table anew from storage.interchange.formats.registry"
