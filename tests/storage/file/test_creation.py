"""A new store is made by one process, whole or not at all; nothing that stands at its place is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from storage.errors import LockedError, NotADatabaseError, StoreError
from storage.file import creation, held, migrate
from storage.store import Store
from tests.storage.builders import add_prompt

pytestmark = pytest.mark.usefixtures("made_stores")

ROOT = Path(__file__).parents[3]

# Opens the store at a given moment, as often as it takes, and stores one prompt.
STARTER = """
import sys, time
from storage import prompts
from storage.errors import LockedError
from storage.store import Store
path, moment, name = sys.argv[1], float(sys.argv[2]), sys.argv[3]
while time.time() < moment:
    pass
while True:
    try:
        store = Store.open(path)
    except LockedError as told:
        assert str(told).startswith(path) and "is open in" in str(told), told
        time.sleep(0.01)
        continue
    print(prompts.add(store, [{"role": "user", "content": name}]), flush=True)
    store.close()
    break
"""
# Stores one prompt, says so and waits to be told to go.
HOLDER = """
import sys
from storage import prompts
from storage.store import Store
store = Store.open(sys.argv[1])
print(prompts.add(store, [{"role": "user", "content": "first"}]), flush=True)
input()
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def stored(path: Path) -> set[str]:
    with Store.open(path) as store:
        return {prompt for (prompt,) in store.rows("SELECT prompt_id FROM prompts")}


@pytest.mark.parametrize("before", ["missing", "empty"])
def test_owners_that_race_for_a_new_path_lose_nothing(tmp_path: Path, before: str) -> None:
    path = tmp_path / "a.duckdb"
    if before == "empty":
        path.touch()
    moment = time.time() + 1.5
    racing = [start(STARTER, str(path), str(moment), f"owner {n}") for n in range(4)]
    said = set()
    for owner in racing:
        out, err = owner.communicate(timeout=120)
        assert owner.returncode == 0, err
        said.add(out.strip())
    assert len(said) == 4
    assert stored(path) == said
    assert creation.unfinished(path) == []


@pytest.mark.parametrize("before", ["missing", "empty"])
def test_who_is_overtaken_while_making_a_store_is_told_who_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    path = tmp_path / "a.duckdb"
    if before == "empty":
        path.touch()
    others: list[subprocess.Popen[str]] = []
    make = migrate.bring_up_to_date

    def overtaken(connection: duckdb.DuckDBPyConnection, file: Path, *, fresh: bool) -> str | None:
        if fresh:
            others.append(start(HOLDER, str(path)))
            assert others[0].stdout is not None
            assert others[0].stdout.readline()
        return make(connection, file, fresh=fresh)

    monkeypatch.setattr(migrate, "bring_up_to_date", overtaken)
    try:
        with pytest.raises(LockedError) as told:
            Store.open(path)
        assert told.value.pid == others[0].pid
    finally:
        others[0].communicate("\n", timeout=30)
    assert len(stored(path)) == 1
    assert creation.unfinished(path) == []


def test_without_hard_links_a_store_is_made_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with Store.open(tmp_path / "a.duckdb") as store:
        prompt = add_prompt(store)
    assert stored(tmp_path / "a.duckdb") == {prompt}


def test_a_link_to_a_missing_file_becomes_a_store_there(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "a.duckdb").symlink_to(tmp_path / "far" / "b.duckdb")
    with Store.open(tmp_path / "a.duckdb") as store:
        prompt = add_prompt(store)
    assert (tmp_path / "a.duckdb").is_symlink()
    assert stored(tmp_path / "far" / "b.duckdb") == {prompt}


@pytest.mark.parametrize("stage", range(4))
def test_a_process_killed_while_making_a_store_leaves_nothing_that_hinders(
    tmp_path: Path, stage: int
) -> None:
    path = tmp_path / "a.duckdb"
    program = f"""
import os, sys
from storage.file import creation, migrate
from storage.store import Store
apply, put, done = migrate._apply, creation._put_in_place, []
def applied(*arguments):
    apply(*arguments)
    done.append(1)
    if len(done) == {[1, 5, 99, 99][stage]}:
        os.kill(os.getpid(), 9)
def placed(*arguments):
    if {stage} == 3:
        put(*arguments)
    os.kill(os.getpid(), 9)
migrate._apply, creation._put_in_place = applied, placed
Store.open(sys.argv[1])
"""
    killed = start(program, str(path))
    assert killed.wait(timeout=60) == -signal.SIGKILL
    for stream in (killed.stdin, killed.stdout, killed.stderr):
        assert stream is not None
        stream.close()
    assert path.exists() == (stage == 3)
    assert creation.unfinished(path) != []
    with Store.open(path) as store:
        add_prompt(store)
    assert len(stored(path)) == 1


@pytest.mark.parametrize("database", ["missing", "empty"])
def test_a_log_without_its_database_is_kept(tmp_path: Path, database: str) -> None:
    path = tmp_path / "a.duckdb"
    log = Path(f"{path}.wal")
    log.write_bytes(b"what was stored last")
    if database == "empty":
        path.touch()
    with pytest.raises(StoreError, match=rf"is {database}, and its log a\.duckdb\.wal beside it is not"):
        Store.open(path)
    assert log.read_bytes() == b"what was stored last"
    assert path.exists() == (database == "empty")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.duckdb")
    with pytest.raises(StoreError, match="is not a regular file"):
        Store.open(tmp_path / "a.duckdb")


def test_a_path_that_duckdb_would_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="has a “\\?”"):
        Store.open(tmp_path / "new?" / "a.duckdb")
    assert list(tmp_path.iterdir()) == []


def other_process_opens(path: Path) -> bool:
    program = f"import duckdb; duckdb.connect({str(path)!r})"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=ROOT).returncode == 0


def test_the_lock_outlives_a_migration_with_its_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.duckdb"
    steps = tmp_path / "steps"
    steps.mkdir()
    for name, body in migrate.migrations():
        (steps / body.name).write_text(body.read_text() if name < 99 else "")
    monkeypatch.setattr(migrate.bring_up_to_date, "__kwdefaults__", {"folder": steps})
    with Store.open(path) as store:
        prompt = add_prompt(store)
    (steps / "9000_later.sql").write_text("CREATE TABLE later (n INTEGER)")
    with Store.open(path) as store:
        assert store.rows("SELECT * FROM later") == []
        assert not other_process_opens(path)
    backups = list(tmp_path.glob("a.duckdb.schema-*"))
    assert [oct(b.stat().st_mode & 0o777) for b in backups] == ["0o600"]
    with duckdb.connect(str(backups[0])) as copy:
        assert copy.execute("SELECT prompt_id FROM prompts").fetchall() == [(prompt,)]


def test_opening_a_store_again_in_one_process_keeps_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Store.open(path):
        with Store.open(path):
            assert not other_process_opens(path)
        assert not other_process_opens(path)
    assert other_process_opens(path)


def test_a_backup_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "b").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        held.copy_apart(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"old"
    held.copy_apart(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"new"
    with pytest.raises(StoreError, match="cannot be copied"):
        held.copy_apart(tmp_path / "absent", tmp_path / "d")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


def test_other_content_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    path.write_bytes(b"a short text")
    with pytest.raises(NotADatabaseError):
        Store.open(path)
    assert path.read_bytes() == b"a short text"
