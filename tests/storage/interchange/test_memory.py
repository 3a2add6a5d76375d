"""An import needs about the memory that DuckDB may use, and not that of its file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.file.faults import told
from storage.interchange import staging
from storage.interchange.importing import import_file
from storage.store import Store
from tests.storage.builders import write

ROOT = Path(__file__).parents[3]

PROGRAM = """
import json, sys
from pathlib import Path
from storage.interchange.importing import import_file
from storage.store import Store
import storage.store
storage.store.CONFIG["memory_limit"] = "150MB"
folder = Path(sys.argv[1])
with (folder / "big.jsonl").open("w") as file:
    for n in range(30_000):
        row = {"prompt": f"{n} " + "p" * 500, "chosen": f"{n} " + "c" * 3000, "rejected": "r" * 500}
        file.write(json.dumps(row) + "\\n")
store = Store.open(folder / "a.duckdb")
import pyarrow
# What the kernel tells of a process's use begins at its parent's.
peak = lambda: int(next(s for s in open("/proc/self/status") if s.startswith("VmHWM")).split()[1]) / 1024
before = peak()
report = import_file(store, folder / "big.jsonl")
grown = peak() - before
print((folder / "big.jsonl").stat().st_size / 2**20, grown, report.judgements.added)
"""


def test_memory_stays_near_the_limit_whatever_the_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    size, grown, added = map(float, done.stdout.split())
    assert added == 30_000
    assert size > 110
    assert grown < 450


@pytest.mark.parametrize("answer", ["short", "long " * 500])
def test_long_texts_are_not_compressed_while_a_large_import_is_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(staging, "LARGE", 0)
    rows = [{"prompt": f"q{n}", "chosen": f"{answer} {n}", "rejected": "no"} for n in range(20)]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    asked: list[tuple[Any, ...]] = []
    with Store.open(tmp_path / "a.duckdb") as store:
        plain = store.plain_texts

        def spy(wanted: bool) -> None:
            plain(wanted)
            asked.append(
                (wanted, *(store.row("SELECT current_setting('disabled_compression_methods')") or ()))
            )

        monkeypatch.setattr(store, "plain_texts", spy)
        assert import_file(store, path).judgements.added == 20
        assert [wanted for wanted, _ in asked] == ([True, False] if answer != "short" else [False])
        assert asked[-1] == (False, "")
        assert answer == "short" or "fsst" in asked[0][1].lower()


def test_a_merge_asks_for_the_memory_of_its_keys_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "LARGE", 0)
    monkeypatch.setattr(staging, "KEYS", (0, 10**6))
    rows = [{"prompt": f"q{n}", "chosen": f"yes {n}", "rejected": "no"} for n in range(100)]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    asked: list[int | None] = []
    merged = []
    whole = staging.Staging._merged

    def spy(self: staging.Staging, record: dict[str, Any]) -> Any:
        merged.append(list(asked))
        return whole(self, record)

    monkeypatch.setattr(staging.Staging, "_merged", spy)
    with Store.open(tmp_path / "a.duckdb") as store:
        monkeypatch.setattr(store, "spare_memory", asked.append)
        assert import_file(store, path).judgements.added == 100
    # of each row: a prompt, two responses and a judgement that stand in two indexes, two items
    assert merged == [[staging.FRUGAL, 100 * (1 + 2 * 2 + 2 + 2) * 10**6]]


@pytest.mark.parametrize("error", [duckdb.OutOfMemoryException, duckdb.TransactionException])
def test_a_statement_and_a_commit_without_memory_are_tried_with_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[duckdb.Error]
) -> None:
    """DuckDB tells of a COMMIT in an error of the transaction."""
    path = write(tmp_path / "a.jsonl", json.dumps({"prompt": "q", "chosen": "yes", "rejected": "no"}))
    asked: list[int | None] = []
    tries = []
    whole = staging.Staging._merged

    def short_of_memory(self: staging.Staging, record: dict[str, Any]) -> Any:
        tries.append(1)
        if len(tries) < 3:
            with told(self.store.path):
                raise error(
                    "Failed to commit: failed to allocate data of size 64.0 KiB (171 MiB/171 MiB used)"
                )
        return whole(self, record)

    monkeypatch.setattr(staging, "LARGE", 0)
    monkeypatch.setattr(staging.Staging, "_merged", short_of_memory)
    with Store.open(tmp_path / "a.duckdb") as store:
        monkeypatch.setattr(store, "spare_memory", asked.append)
        assert import_file(store, path).judgements.added == 1
    assert asked == [staging.FRUGAL, *map(int, staging.ROOMS[:2]), None]


@pytest.mark.parametrize("batch", [1, staging.CHUNK])
def test_portions_of_any_size_merge_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """Plain rows and rows that are read one at a time, in portions that end within a row."""
    monkeypatch.setattr("storage.interchange.importing.WORTH", batch)
    rows = [{"prompt": f"q{n % 70}", "chosen": f"yes {n}", "rejected": "no" * 40} for n in range(200)]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    held = []
    for portion in (10**9, 500, 77):
        monkeypatch.setattr(staging, "PORTION_CHARACTERS", portion)
        with Store.open(tmp_path / f"{portion}.duckdb") as store:
            import_file(store, path)
            held.append(store.rows("SELECT response_id, prompt_id, text FROM responses ORDER BY ALL"))
    assert len(held[0]) == 270
    assert held[1] == held[0]
    assert held[2] == held[0]
