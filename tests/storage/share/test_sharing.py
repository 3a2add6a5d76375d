"""Another process reads the store while this one holds it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import prompts
from storage.errors import ShareError
from storage.share.asking import token_path_of
from storage.share.sharing import share
from storage.store import Store
from tests.storage.builders import add_prompt
from tests.storage.remote_query import query_remote

ROOT = Path(__file__).parents[3]
ASK = """
import json, sys
from pathlib import Path
from storage.errors import ShareError
from tests.storage.remote_query import query_remote
for sql in sys.argv[2:]:
    try:
        print(json.dumps(query_remote(Path(sys.argv[1]), sql)))
    except ShareError as error:
        print(json.dumps(str(error)))
"""


def asked(path: Path, *sql: str) -> list[object]:
    command = [sys.executable, "-c", ASK, str(path), *sql]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_second_process_reads_and_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Store.open(path) as store:
        add_prompt(store, "shared")
        serving = share(store)
        try:
            assert token_path_of(path).stat().st_mode & 0o777 == 0o600
            answers = asked(
                path,
                "SELECT text FROM prompts",
                "DELETE FROM prompts",
                "WITH x AS (SELECT 1) DELETE FROM prompts",
                "SELECT 1; DROP TABLE scores",
                "EXPLAIN ANALYZE DELETE FROM prompts",
                "SELECT * FROM read_text('/etc/hostname')",
                "SELECT * FROM nowhere",
            )
        finally:
            serving.close()
        assert prompts.count(store) == 1
    refusal = "Another process holds the store: only SELECT from its tables and views can be asked."
    assert answers[:6] == [[["shared"]], *[refusal] * 5]
    assert "nowhere does not exist" in str(answers[6])
    assert not token_path_of(path).exists()


def test_a_wrong_token_and_a_server_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with pytest.raises(ShareError, match="No workbench shares"):
        query_remote(path, "SELECT 1")
    with Store.open(path) as store:
        serving = share(store)
        shared = json.loads(token_path_of(path).read_text())
        try:
            token_path_of(path).write_text(json.dumps({**shared, "token": "x" * 40}))
            assert "token of" in str(asked(path, "SELECT 1")[0])
        finally:
            serving.close()
    token_path_of(path).write_text(json.dumps(shared))
    with pytest.raises(ShareError, match="does not answer"):
        query_remote(path, "SELECT 1")


def test_a_store_in_memory_needs_a_place_for_the_token(store: Store) -> None:
    with pytest.raises(ShareError, match="no place for the token"):
        share(store)


HOLDER = """
import sys, time
from pathlib import Path
from storage.share.sharing import share
from storage.store import Store
serving = share(Store.open(sys.argv[1]))
print(serving._folder.path, flush=True)
time.sleep(600)
"""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose name leaves room for a socket's; a test's own folder may be too long."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def test_the_next_start_removes_the_folders_of_killed_processes_and_of_no_others(
    tmp_path: Path, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(short_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    holders, folders = [], []
    for name in ("killed", "alive"):
        command = [sys.executable, "-c", HOLDER, str(tmp_path / f"{name}.duckdb")]
        holders.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT))
        folders.append(Path(holders[-1].stdout.readline().strip()))  # type: ignore[union-attr]
    killed, alive = folders
    try:
        holders[0].kill()
        holders[0].wait()
        assert any(killed.iterdir())
        with Store.open(tmp_path / "next.duckdb") as store:
            serving = share(store)
            assert not killed.exists()
            assert any(each.is_socket() for each in alive.iterdir())
            own = serving._folder.path
            assert own.parent == short_path
            serving.close()
            assert not own.exists()
        assert asked(tmp_path / "alive.duckdb", "SELECT count(*) FROM prompts") == [[[0]]]
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()
