"""SIGKILL at random moments: every acknowledged row is there afterwards, and every file opens."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.file import creation, migrate
from storage.store import Store

pytestmark = pytest.mark.usefixtures("made_stores")

ROOT = Path(__file__).parents[3]
BEGIN = """
import sys
from pathlib import Path
from storage import prompts
from storage.file import migrate
from storage.store import Store
path = Path(sys.argv[1])
"""
# Each says `go` when the moments begin in which it may be killed, and then every prompt that is stored.
PROGRAMS = {
    "insert": """
with Store.open(path) as store:
    print("go", flush=True)
    while True:
        print(prompts.add(store, [{"role": "user", "content": f"{store.changes} {sys.argv[2]}"}]), flush=True)
""",
    "bulk": """
with Store.open(path) as store:
    print("go", flush=True)
    while True:
        values = f"SELECT md5('{store.changes} {sys.argv[2]} ' || range), repeat('x', 300), '[]'"
        store.write(f"INSERT INTO prompts (prompt_id, text, messages) {values} FROM range(2500)")
        print(store.row("SELECT max(prompt_id) FROM prompts")[0], flush=True)
""",
    "checkpoint": """
with Store.open(path) as store:
    print("go", flush=True)
    while True:
        print(prompts.add(store, [{"role": "user", "content": f"{store.changes} {sys.argv[2]}"}]), flush=True)
        store.cursor().execute("CHECKPOINT")
""",
    "open and close": """
print("go", flush=True)
for n in range(10**6):
    with Store.open(path) as store:
        print(prompts.add(store, [{"role": "user", "content": f"{n} {sys.argv[2]}"}]), flush=True)
""",
    "migration": """
steps = path.with_name("steps")
steps.mkdir(exist_ok=True)
for _, file in migrate.migrations():
    (steps / file.name).write_text(file.read_text())
for n in range(int(sys.argv[2]) * 50, int(sys.argv[2]) * 50 + 50):
    (steps / f"{9000 + n}_later.sql").write_text(
        f"CREATE TABLE later_{n} AS SELECT range AS a, hash(range) AS b FROM range(20000)"
    )
migrate.bring_up_to_date.__kwdefaults__["folder"] = steps
print("go", flush=True)
with Store.open(path) as store:
    print(prompts.add(store, [{"role": "user", "content": sys.argv[2]}]), flush=True)
""",
}


def killed_while(program: str, path: Path, moment: int, seconds: float) -> set[str]:
    """Run a program, kill it `seconds` after it has begun, and give the prompts that it acknowledged."""
    command = [sys.executable, "-c", BEGIN + program, str(path), str(moment)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    time.sleep(seconds)
    process.kill()
    said = process.stdout.read()
    process.wait(timeout=30)
    process.stdout.close()
    return {line for line in said.split("\n")[:-1] if line}  # a last half line was not acknowledged


@pytest.mark.parametrize("what", PROGRAMS)
@pytest.mark.parametrize("kills", [2, pytest.param(40, marks=[pytest.mark.slow, pytest.mark.long])])
def test_every_acknowledged_row_survives(
    tmp_path: Path, what: str, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.duckdb"
    Store.open(path).close()
    # A schema of the migrations of this test is newer than what the workbench knows; here it is known.
    monkeypatch.setitem(migrate.bring_up_to_date.__kwdefaults__, "folder", migrate.MIGRATIONS)
    chance = random.Random(7)
    said: set[str] = set()
    moments = [chance.uniform(0.0, 0.4) for _ in range(kills)]
    for moment, seconds in enumerate([*moments, 20.0]):
        if moment == kills and (said or what == "migration"):
            break  # on a busy machine nothing may have been said in the moments before
        said |= killed_while(PROGRAMS[what], path, moment, seconds)
        if (tmp_path / "steps").exists():
            migrate.bring_up_to_date.__kwdefaults__["folder"] = tmp_path / "steps"
        with Store.open(path) as store:
            stored = {prompt for (prompt,) in store.rows("SELECT prompt_id FROM prompts")}
            later = store.rows("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'later%'")
            versions = store.rows("SELECT count(*) FROM schema_migrations WHERE version >= 9000")
        assert said <= stored
        assert versions == [(len(later),)]
        if what == "bulk":
            assert len(stored) % 2500 == 0
    assert creation.unfinished(path) == []
    if what != "migration":
        assert said
