"""What a SELECT costs more through the process that holds the store than in it.

A small answer, median and least of `--repeats`, asked in turn: as services ask (rows of Python values), as a
notebook asks (an Arrow table), and in the holder itself.  Holder and reader are processes of their own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.common import parser, report, versions

QUESTION = "SELECT count(*) FROM runs"
READER = "import sys; from tests.benchmarks.remote_select import read; read(sys.argv[1], int(sys.argv[2]))"


def timed(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Milliseconds of calls, the first of them apart."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    first, *others = times
    return {
        "median": round(statistics.median(others), 2),
        "least": round(min(others), 2),
        "first": round(first, 1),
    }


def read(path: str, repeats: int) -> None:
    """The reader; one JSON line."""
    from storage.errors import LockedError
    from storage.share.remote import RemoteStore
    from workbench.connection import Connection

    with RemoteStore(Path(path), LockedError("held")) as store, Connection(Path(path)) as db:
        found = {"rows": timed(lambda: store.rows(QUESTION), repeats)}
        found["arrow"] = timed(lambda: db.arrow(QUESTION), repeats)
    print(json.dumps(found))


def main() -> None:
    """One JSON line."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--repeats", type=int, default=300)
    options = arguments.parse_args()
    from storage.share.sharing import share
    from storage.store import Store

    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder, "a.duckdb")) as store:
        store.write("INSERT INTO runs (run_id, kind, status, config) VALUES ('ppo-1', 'ppo', 'done', '{}')")
        own = timed(lambda: store.rows(QUESTION), options.repeats)
        serving = share(store)
        try:
            command = [sys.executable, "-c", READER, str(store.path), str(options.repeats)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        finally:
            serving.close()
    report("remote_select", own=own, **json.loads(done.stdout), versions=versions("duckdb", "pyarrow"))


if __name__ == "__main__":
    main()
