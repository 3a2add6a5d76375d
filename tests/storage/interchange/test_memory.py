"""An import needs about the memory that DuckDB may use, and not that of its file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

PROGRAM = """
import json, resource, sys
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
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = import_file(store, folder / "big.jsonl")
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
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
