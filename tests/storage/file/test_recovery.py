"""A log that is torn, damaged or no log: looked at first, kept, and told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import NotADatabaseError, StoreError
from storage.file import recovery
from storage.store import Store
from tests.storage.builders import add_prompt

pytestmark = pytest.mark.usefixtures("made_stores")

ROOT = Path(__file__).parents[3]
WRITER = """
import os, sys
from storage import prompts
from storage.store import Store
store = Store.open(sys.argv[1])
for n in range(30):
    print(prompts.add(store, [{"role": "user", "content": str(n)}]), flush=True)
os._exit(0)
"""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A store whose last 30 prompts stand in its log."""
    path = tmp_path / "a.duckdb"
    Store.open(path).close()
    subprocess.run([sys.executable, "-c", WRITER, str(path)], check=True, cwd=ROOT, capture_output=True)
    return path


def log_of(path: Path) -> Path:
    return Path(f"{path}.wal")


def kept(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.kept-*"))


def prompts_in(store: Store) -> int:
    return int(store.rows("SELECT count(*) FROM prompts")[0][0])


def test_a_whole_log_comes_back_without_a_word(killed: Path) -> None:
    with Store.open(killed) as store:
        assert store.recovered is None
        assert prompts_in(store) == 30
    assert kept(killed) == []


def test_a_torn_log_is_kept_and_its_rows_are_counted(killed: Path) -> None:
    content = log_of(killed).read_bytes()
    log_of(killed).write_bytes(content[: len(content) // 2])
    with Store.open(killed) as store:
        found = prompts_in(store)
        assert 0 < found < 30
        assert store.recovered is not None
        assert store.recovered.rows == found
        assert f"{found} rows came back from it" in store.recovered.sentence
        assert str(store.recovered.kept) in store.recovered.sentence
        add_prompt(store, "later")
    (copy,) = kept(killed)
    assert copy.read_bytes() == content[: len(content) // 2]
    assert copy.stat().st_mode & 0o777 == 0o600
    with Store.open(killed) as store:
        assert store.recovered is None
        assert prompts_in(store) == found + 1


def test_what_is_no_log_is_moved_away_and_the_next_rows_are_kept(killed: Path) -> None:
    log_of(killed).write_bytes(b"\x00garbage" * 400)
    again = [sys.executable, "-c", WRITER, str(killed)]  # ends with its rows in the log
    said = subprocess.run(again, check=True, cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert [c.read_bytes() for c in kept(killed)] == [b"\x00garbage" * 400]
    with Store.open(killed) as store:
        assert {prompt for (prompt,) in store.rows("SELECT prompt_id FROM prompts")} == set(said)
    log_of(killed).write_bytes(b"no log")
    with Store.open(killed) as store:
        assert store.recovered is not None
        assert "nothing of it could be read" in store.recovered.sentence
    assert len(kept(killed)) == 2


def test_a_log_damaged_in_its_middle_is_told_and_nothing_is_changed(killed: Path) -> None:
    content = bytearray(log_of(killed).read_bytes())
    at = 8
    while at < len(content) // 2:
        at += 16 + int.from_bytes(content[at : at + 8], "little")
    content[at + 16] ^= 255  # the first byte of what an entry says
    log_of(killed).write_bytes(content)
    database = killed.read_bytes()
    with pytest.raises(NotADatabaseError, match=r"a\.duckdb\.wal is damaged at byte [\d,]+, and nothing"):
        Store.open(killed)
    assert log_of(killed).read_bytes() == content
    assert killed.read_bytes() == database


def scrambled(content: bytes) -> bytes:
    return content[:12288] + os.urandom(len(content) - 12288)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("damage", [scrambled, cut])
def test_a_damaged_database_and_its_log_stay_as_they_are(
    killed: Path, damage: Callable[[bytes], bytes]
) -> None:
    killed.write_bytes(damage(killed.read_bytes()))
    database, log = killed.read_bytes(), log_of(killed).read_bytes()
    with pytest.raises(StoreError, match=r"is damaged|cannot be read"):
        Store.open(killed)
    assert killed.read_bytes() == database
    assert log_of(killed).read_bytes() == log


def test_a_file_that_reads_wrong_after_opening_keeps_its_log(
    killed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(killed).read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise NotADatabaseError("damaged")

    with monkeypatch.context() as patch:
        patch.setattr("storage.file.migrate.bring_up_to_date", fail)
        with pytest.raises(NotADatabaseError):
            Store.open(killed)
    assert log_of(killed).read_bytes() == log
    with Store.open(killed) as store:
        assert prompts_in(store) == 30


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(0, 60))
def test_whole_entries_are_counted(entries: list[bytes], missing: int) -> None:
    import io

    header = recovery.HEADER + b"\x02" + recovery.HEADER_END
    parts = [len(e).to_bytes(8, "little") + bytes(8) + e for e in entries]
    log = header + b"".join(parts)
    log = log[: max(0, len(log) - missing)]
    ends = [len(header) + sum(map(len, parts[:n])) for n in range(len(parts) + 1)]
    expected = max((end for end in ends if end <= len(log)), default=0)
    assert recovery.whole_bytes(io.BytesIO(log), len(log)) == expected
