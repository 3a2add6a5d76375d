"""Opening, migrating, sharing between threads, and what a person is told when the file is not right."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from storage import prompts
from storage.errors import DiskFullError, LockedError, NewerSchemaError, NotADatabaseError, StoreError
from storage.file import migrate
from storage.store import Store
from tests.storage.builders import add_prompt

pytestmark = pytest.mark.usefixtures("made_stores")

ROOT = Path(__file__).parents[2]


def test_a_new_file_and_its_folder_are_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.duckdb"
    with Store.open(path) as store:
        add_prompt(store)
        modes = {p.name: oct(p.stat().st_mode & 0o777) for p in (path.parent, *path.parent.iterdir())}
    files = {"a.duckdb": "0o600", "a.duckdb.wal": "0o600"}
    assert modes == {"new": "0o700", **files, "a.duckdb.tmp": "0o700", "a.runs": "0o700"}
    assert not (path.parent / "a.duckdb.tmp").exists()


def test_what_is_stored_is_there_again(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        prompt = add_prompt(store)
    with Store.open(tmp_path / "a.duckdb") as store:
        assert prompts.messages(store, prompt) == [{"role": "user", "content": "Say hello."}]


def test_opening_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom storage.store import Store; from storage import prompts, judgements, runs\n"
        f"store = Store.open({str(tmp_path / 'a.duckdb')!r}); prompts.listed(store)\n"
        "print(sorted({'numpy','pandas','polars','pyarrow','torch','psutil','shutil'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() in ("[]", "['shutil']")


def test_the_holder_of_the_lock_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    program = (
        f"from storage.store import Store; s = Store.open({str(path)!r}); print('open', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(LockedError, match=f"is open in process {holder.pid}") as told:
            Store.open(path)
        assert told.value.pid == holder.pid
        assert told.value.command is not None
        assert "-c from storage.store" in told.value.command
    finally:
        holder.communicate("\n", timeout=20)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        store.write("INSERT INTO schema_migrations (version, name) VALUES (9999, 'later')")
    with pytest.raises(NewerSchemaError, match="has schema 9999 and this workbench knows"):
        Store.open(tmp_path / "a.duckdb")


@pytest.mark.parametrize("content", [b"hello", bytes(range(1, 256)) * 80], ids=["text", "bytes"])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.duckdb"
    path.write_bytes(content)
    with pytest.raises(NotADatabaseError, match="is not a workbench database"):
        Store.open(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_a_data_file_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 1 AS n) TO '{path}'")
    content = path.read_bytes()
    with pytest.raises(NotADatabaseError, match="is not a workbench database"):
        Store.open(path)
    assert path.read_bytes() == content


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Store.open(path) as store:
        prompts.add_many(store, [[{"role": "user", "content": f"{n} {'x' * 5000}"}] for n in range(200)])
    content = bytearray(path.read_bytes())
    content[8192 : len(content) - 4096] = os.urandom(len(content) - 12288)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"is damaged|cannot be read"):
        Store.open(path)


def test_the_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.duckdb"
    with duckdb.connect(str(path)) as theirs:
        theirs.execute("CREATE TABLE sales (n INTEGER)")
    with pytest.raises(NotADatabaseError, match="has the table sales"):
        Store.open(path)
    with duckdb.connect(str(path)) as theirs:
        assert theirs.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("sales",)]


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder"):
        Store.open(tmp_path)


def _migrations(folder: Path, *bodies: str) -> Path:
    folder.mkdir(exist_ok=True)
    for number, body in enumerate(bodies, start=1):
        (folder / f"{number:04d}_step.sql").write_text(body)
    return folder


FIRST = "CREATE TABLE store_settings (key VARCHAR PRIMARY KEY, value VARCHAR); CREATE TABLE a (n INTEGER);"


def test_an_older_file_is_copied_and_then_migrated(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with duckdb.connect(str(path)) as connection:
        migrate.bring_up_to_date(connection, path, fresh=True, folder=_migrations(tmp_path / "m", FIRST))
        connection.execute("INSERT INTO a VALUES (7)")
    newer = _migrations(tmp_path / "m", FIRST, "ALTER TABLE a ADD COLUMN m INTEGER")
    with duckdb.connect(str(path)) as connection:
        migrate.bring_up_to_date(connection, path, fresh=False, folder=newer)
        assert connection.execute("SELECT n, m FROM a").fetchall() == [(7, None)]
        versions = connection.execute("SELECT version FROM schema_migrations ORDER BY 1").fetchall()
    assert versions == [(1,), (2,)]
    with duckdb.connect(str(tmp_path / "a.duckdb.schema-0001")) as copy:
        assert copy.execute("SELECT * FROM a").fetchall() == [(7,)]


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    broken = _migrations(tmp_path / "m", FIRST, "CREATE TABLE b (n INTEGER); SELECT * FROM nowhere;")
    with duckdb.connect(str(path)) as connection:
        with pytest.raises(duckdb.CatalogException):
            migrate.bring_up_to_date(connection, path, fresh=True, folder=broken)
        tables = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        versions = connection.execute("SELECT version FROM schema_migrations").fetchall()
    assert ("b",) not in tables
    assert versions == [(1,)]


def test_migrations_are_numbered_without_gaps() -> None:
    assert [version for version, _ in migrate.migrations()] == list(range(1, len(migrate.migrations()) + 1))


def test_a_transaction_is_whole_or_nothing(store: Store) -> None:
    class OopsError(Exception):
        pass

    def half() -> None:
        with store.transaction():
            add_prompt(store, "one")
            with store.transaction():
                add_prompt(store, "two")
            assert prompts.count(store) == 2
            raise OopsError

    with pytest.raises(OopsError):
        half()
    assert prompts.count(store) == 0
    add_prompt(store, "three")
    assert prompts.count(store) == 1


def test_threads_write_at_once_without_conflict(store: Store) -> None:
    failures: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for n in range(20):
                with store.transaction():
                    add_prompt(store, f"{thread} {n}")
                    add_prompt(store, f"shared {n}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert prompts.count(store) == 4 * 20 + 20


def test_token_traces_are_read_where_the_file_is_now(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with Store.open(tmp_path / "old" / "a.duckdb") as store:
        assert store.rows("SELECT * FROM token_traces") == []
    (tmp_path / "old").rename(tmp_path / "new [1]")
    with Store.open(tmp_path / "new [1]" / "a.duckdb") as store:
        assert store.runs_root is not None
        traces = store.runs_root / "ppo-1" / "traces"
        traces.mkdir(parents=True)
        columns = (
            "5 AS step, 'p1' AS prompt_id, 0 AS sample_index, 1 AS position, 17 AS token_id, ' hi' AS token"
        )
        store.cursor().execute(f"COPY (SELECT {columns}) TO '{traces / 'step-000005.parquet'}'")
        found = store.rows("SELECT run_id, step, token, kl FROM token_traces")
    assert found == [("ppo-1", 5, " hi", None)]


def test_a_closed_store_says_so(store: Store) -> None:
    store.close()
    with pytest.raises(StoreError, match="closed"):
        prompts.count(store)


def test_a_new_file_that_cannot_be_completed_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise duckdb.IOException("Could not write file: No space left on device")

    path = tmp_path / "a.duckdb"
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "bring_up_to_date", full)
        with pytest.raises(DiskFullError):
            Store.open(path)
    assert list(tmp_path.iterdir()) == []
    with Store.open(path) as store:
        add_prompt(store)
    with monkeypatch.context() as patch:  # one that was there before stays
        patch.setattr(migrate, "bring_up_to_date", full)
        with pytest.raises(DiskFullError):
            Store.open(path)
    assert path.exists()


def test_every_file_beside_the_database_is_private(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb"):
        pass
    open_to_others = [p for p in tmp_path.rglob("*") if p.stat().st_mode & 0o077]
    assert open_to_others == []


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "a.duckdb").touch()
    with Store.open(tmp_path / "a.duckdb") as store:
        add_prompt(store)
    with Store.open(tmp_path / "a.duckdb") as store:
        assert store.row("SELECT count(*) FROM prompts") == (1,)


def test_a_device_is_no_database() -> None:
    with pytest.raises(StoreError):
        Store.open("/dev/null")
    assert Path("/dev/null").exists()


def test_a_folder_of_runs_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.runs").touch()
    with pytest.raises(StoreError, match=r"The folder of runs .*a\.runs cannot be written"):
        Store.open(tmp_path / "a.duckdb")


def test_closing_does_not_wait_for_what_another_thread_computes(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "a.duckdb")
    cursor = store.new_cursor()
    endless = "SELECT count(*) FROM range(100000) a, range(100000) b, range(100000) c"
    with ThreadPoolExecutor(1) as other:
        running = other.submit(cursor.execute, endless)
        time.sleep(0.3)
        store.close()
        with pytest.raises(duckdb.InterruptException):
            running.result(60)
