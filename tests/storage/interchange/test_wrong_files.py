"""A wrong file is known by its beginning, whatever its size."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import prompts
from storage.errors import ImportFileError
from storage.interchange.importing import import_file
from storage.store import Store

READS = Path("/proc/self/io")
SIZE = 120 * 2**20
ENOUGH = 100 * 2**20  # a row may have 64 MB, and is read twice
WRONG = {  # by name: how it begins, and what follows again and again
    "zeros.jsonl": (b"", b"\0"),
    "no_prompt.jsonl": (b"", b'{"a": 1, "b": 2}\n'),
    "ids.jsonl": (b"", b'{"id": "a7f3", "prompt_id": "p1", "text": ""}\n'),
    "broken.jsonl": (b"", b"{broken\n"),
    "large_rows.jsonl": (b"", b'{"a": "' + b"x" * 2_000_000 + b'"}\n'),
    "numbers.json": (b"[", b"1,\n"),
    "one_text.json": (b'{"a": "', b"x"),
    "one_line.jsonl": (b'{"prompt": "', b"x"),
    "brackets.json": (b"", b"["),
    "open_quote.csv": (b'prompt,response\n"', b"x, y\n"),
    "numbers.csv": (b"x,y\n", b"1,2\n"),
    "cut.parquet": (b"PAR1", b"\1\2\3"),
    "what.doc": (b"", b"hello "),
}


def read_so_far() -> int:
    return int(READS.read_text().split("rchar:")[1].split()[0])


def wrong_file(folder: Path, name: str, size: int) -> Path:
    """Of `size` bytes."""
    path = folder / name
    start, again = WRONG[name]
    block = again * (2**20 // len(again) + 1)
    with path.open("wb") as file:
        file.write(start)
        while file.tell() < size:
            file.write(block)
        file.truncate(size)
    return path


@pytest.mark.skipif(not READS.exists(), reason="this system does not count what is read")
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_known_without_reading_all_of_it(store: Store, tmp_path: Path, name: str) -> None:
    path = wrong_file(tmp_path, name, SIZE)
    before = read_so_far()
    with pytest.raises(ImportFileError) as told:
        import_file(store, path)
    assert "\n" not in str(told.value)
    assert read_so_far() - before < ENOUGH
    assert prompts.overview(store).prompts == 0
