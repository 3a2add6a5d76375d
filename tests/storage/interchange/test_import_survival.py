"""An import that is killed, or meets a full disk, leaves nothing half done; the store goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from storage.interchange.importing import import_file
from storage.store import Store

ROOT = Path(__file__).parents[3]
PAIRS = 6000
TABLES = ("prompts", "responses", "judgements", "judgement_items", "imports", "policies", "annotators")

# Says every statement and every step of progress before it goes on, and waits to be let on.
SLOW = """
import sys
from pathlib import Path
from storage import store as stores
from storage.interchange import staging
from storage.interchange.importing import import_file

staging.LARGE, staging.FRUGAL = 0, 15_000_000 # so that it spills
store = stores.Store.open(sys.argv[1])
plain = stores.Store.write
def write(self, sql, parameters=None):
    print(" ".join(sql.split()[:3]), flush=True)
    sys.stdin.readline()
    return plain(self, sql, parameters)
stores.Store.write = write
def told(rows, share):
    print("rows", flush=True)
    sys.stdin.readline()
import_file(store, Path(sys.argv[2]), on_progress=told)
print("done", flush=True)
sys.stdin.readline()
"""

PLAIN = """
import sys
from pathlib import Path
from storage.errors import StoreError
from storage.interchange.importing import import_file
from storage.store import Store

LIMITS
try:
    with Store.open(sys.argv[1]) as store:
        import_file(store, Path(sys.argv[2]))
except StoreError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""
NO_LARGER_FILE = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 9 MB; some of its rows are for the row path, and one is broken."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    with path.open("w") as file:
        for n in range(PAIRS):
            prompt = f"[{n}] " + "p" * 200 if n % 10 == 0 else f"{n} " + "p" * 200
            row = {"prompt": prompt, "chosen": f"c{n} " * 100, "rejected": f"r{n} " * 100}
            file.write("{broken\n" if n == 77 else json.dumps(row) + "\n")
    return path


def counts(store: Store) -> dict[str, int]:
    return {name: store.rows(f"SELECT count(*) FROM {name}")[0][0] for name in TABLES}


NOTHING = dict.fromkeys(TABLES, 0)
ALL = {
    "prompts": PAIRS - 1,
    "responses": 2 * (PAIRS - 1),
    "judgements": PAIRS - 1,
    "judgement_items": 2 * (PAIRS - 1),
    "imports": 1,
    "policies": 1,
    "annotators": 1,
}


def killed_at(moment: str, path: Path, pairs: Path) -> None:
    """Import in a process and kill it (SIGKILL) while it is about to do what it calls `moment`."""
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(path), str(pairs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        while True:
            line = child.stdout.readline().strip()
            assert line, f"it ended before {moment}"
            if line == moment:
                break
            child.stdin.write("\n")
            child.stdin.flush()
    finally:
        child.kill()
        child.wait(timeout=20)
        child.stdin.close()
        child.stdout.close()


def test_killed_imports_leave_nothing_and_one_that_is_whole_everything(tmp_path: Path, pairs: Path) -> None:
    path = tmp_path / "a.duckdb"
    moments = ["rows", "INSERT INTO prompts", "INSERT INTO responses", "INSERT INTO judgements"]
    for moment in [*moments, "INSERT INTO imports"]:
        killed_at(moment, path, pairs)
        with Store.open(path) as store:
            assert counts(store) == NOTHING, moment
            assert not list(tmp_path.glob("a.duckdb.tmp/*")), moment
    killed_at("done", path, pairs)
    with Store.open(path) as store:
        assert counts(store) == ALL
        again = import_file(store, pairs)
        assert (again.prompts.added, again.responses.added, again.judgements.added) == (0, 0, 0)
    assert not (tmp_path / "a.duckdb.tmp").exists()


def run_plain(path: Path, pairs: Path, limits: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PLAIN.replace("LIMITS", limits), str(path), str(pairs)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


def check_usable(path: Path, folder: Path) -> None:
    """Nothing of the file came in, and a smaller one does."""
    small = folder / "small.jsonl"
    small.write_text('{"prompt": "Q", "chosen": "a", "rejected": "b"}\n')
    with Store.open(path) as store:
        assert counts(store) == NOTHING
        assert import_file(store, small).judgements.added == 1


def test_a_full_disk_leaves_nothing(small_disk: Path, tmp_path: Path, pairs: Path) -> None:
    path = small_disk / "a.duckdb"
    done = run_plain(path, pairs)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("DiskFullError: The disk is full: nothing more can be written to")
    assert "Traceback" not in done.stderr
    check_usable(path, tmp_path)


def test_a_store_that_may_not_grow_keeps_nothing_of_the_file(tmp_path: Path, pairs: Path) -> None:
    """The same without the right to mount: the operating system lets no file grow."""
    path = tmp_path / "a.duckdb"
    Store.open(path).close()
    done = run_plain(path, pairs, NO_LARGER_FILE)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("DiskFullError")
    check_usable(path, tmp_path)
