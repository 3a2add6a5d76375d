"""A judgement that was acknowledged is stored, whatever happens next; one that was not stored is told."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.errors import StoreError
from storage.store import Store

ROOT = Path(__file__).parents[3]

JUDGE = """
import sys
from storage.store import Store
from storage import judgements, prompts
from storage.records import JudgedItem, NewJudgement
store = Store.open(sys.argv[1])
prompt = prompts.add(store, [{"role": "user", "content": "x"}])
while True:
    items = (JudgedItem("r1", 1), JudgedItem("r2", 2), JudgedItem("r3", 2))
    print(judgements.record(store, NewJudgement(prompt, "ana", "ranking", items, note=NOTE)), flush=True)
"""


def acknowledged(program: str, path: Path, seconds: float) -> list[str]:
    """Run the judge, kill it (SIGKILL) after it has spoken for `seconds`, and give what it acknowledged."""
    judge = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert judge.stdout is not None
    first = judge.stdout.readline()
    time.sleep(seconds)
    judge.kill()
    rest = judge.stdout.read()
    judge.wait(timeout=20)
    judge.stdout.close()
    return [line for line in (first + rest).split("\n")[:-1] if line]  # a last half line was not acknowledged


def test_acknowledged_judgements_survive_kills(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    chance = random.Random(5)
    said: set[str] = set()
    for _ in range(5):
        said |= set(acknowledged(JUDGE.replace("NOTE", "None"), path, chance.uniform(0.0, 0.2)))
        with Store.open(path) as store:
            stored = {j for (j,) in store.rows("SELECT judgement_id FROM judgements")}
            halves = store.rows(
                "SELECT judgement_id FROM judgements LEFT JOIN judgement_items i USING (judgement_id) "
                "GROUP BY ALL HAVING count(i.response_id) <> 3"
            )
        assert said <= stored
        assert halves == []
    assert len(said) > 5  # on a busy machine few are said between two kills


def test_a_full_disk_is_told_and_loses_nothing(small_disk: Path) -> None:
    path = small_disk / "a.duckdb"
    program = JUDGE.replace("NOTE", "'n' * 50_000")
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 1
    assert "DiskFullError: The disk is full: nothing more can be written to" in done.stderr
    said = set(done.stdout.split())
    assert len(said) > 10
    with Store.open(path) as store:
        assert {j for (j,) in store.rows("SELECT judgement_id FROM judgements")} == said


LIMITED = """
import resource, sys
sys.argv = ["", sys.argv[1]]
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
"""


def test_a_file_that_may_not_grow_is_told(tmp_path: Path) -> None:
    """The same without the right to mount: the operating system refuses to let the log grow."""
    path = tmp_path / "a.duckdb"
    Store.open(path).close()
    program = LIMITED + JUDGE.replace("NOTE", "'n' * 50_000")
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    said = set(done.stdout.split())
    assert done.returncode == 1
    assert "DiskFullError" in done.stderr
    with Store.open(path) as store:
        assert said <= {j for (j,) in store.rows("SELECT judgement_id FROM judgements")}


def test_a_read_only_disk_is_told(small_disk: Path) -> None:
    path = small_disk / "a.duckdb"
    Store.open(path).close()
    content = path.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreError, match=r"cannot be read or written.*Read-only file system"):
        Store.open(path)
    with pytest.raises(StoreError, match=r"cannot be made: Read-only file system"):
        Store.open(small_disk / "new.duckdb")
    assert path.read_bytes() == content


BOUND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
"""Root without the right to write where the modes of files say no."""


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    path = tmp_path / "study" / "a.duckdb"
    Store.open(path).close()
    as_user = [] if os.geteuid() else BOUND
    if as_user and shutil.which(as_user[0]) is None:
        pytest.skip("root writes everywhere, and there is no setpriv")
    content = path.read_bytes()
    path.parent.chmod(0o500)
    command = [*as_user, sys.executable, "-c", JUDGE.replace("NOTE", "None"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    path.parent.chmod(0o700)
    assert (done.returncode, done.stdout) == (1, "")
    assert "StoreError: The folder of" in done.stderr.splitlines()[-1]
    assert path.read_bytes() == content
