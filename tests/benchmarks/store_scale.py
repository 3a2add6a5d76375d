"""A store of a million responses: opening it, its lists, SQL over five million scores, and from beside.

The rows are made in SQL: 250,000 prompts with four responses each, five reward models' scores of every
response, 40 runs of 10,000 metrics.  Times are medians over `--repeats`; the store is kept with `--keep`.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.common import parser, report, say, versions

PROMPTS, SAMPLES, MODELS, RUNS, METRICS = 250_000, 4, 5, 40, 10_000
FILL = (
    "INSERT INTO prompts (prompt_id, text, messages, source, created_at) SELECT 'p' || printf('%016x', i), "
    "'Prompt number ' || i || ' asks for a short answer to a plain question.', "
    "json_array(json_object('role', 'user', 'content', 'Prompt number ' || i)), 'source ' || (i % 10), "
    "TIMESTAMP '2026-01-01' + to_seconds(i) FROM range({prompts}) t(i)",
    "INSERT INTO policies (policy_id, name) SELECT 'y' || i, 'policy ' || i FROM range(4) t(i)",
    "INSERT INTO responses (response_id, prompt_id, policy_id, sample_index, text, created_at) "
    "SELECT 'r' || printf('%016x', i * {samples} + k), 'p' || printf('%016x', i), 'y' || k, k, "
    "'Answer ' || hash(i * {samples} + k) || repeat(' of some length', 10), TIMESTAMP '2026-01-02' "
    "FROM range({prompts}) t(i), range({samples}) s(k)",
    "INSERT INTO artifacts (artifact_id, kind, name, path) "
    "SELECT 'f' || i, 'reward_model', 'model ' || i, '/nowhere/' || i FROM range({models}) t(i)",
    "INSERT INTO scores (response_id, reward_model_id, score, backend) "
    "SELECT response_id, 'f' || m, (hash(response_id, m) % 10000) / 1000, 'onnx-fp32' "
    "FROM responses, range({models}) t(m)",
    "INSERT INTO runs (run_id, kind, status, config) "
    "SELECT 'ppo-' || i, 'ppo', 'done', '{{}}' FROM range({runs}) t(i)",
    "INSERT INTO metrics SELECT 'ppo-' || r, i, i // 10, 'policy/' || (i % 10), random(), "
    "TIMESTAMP '2026-01-03' FROM range({runs}) s(r), range({metrics}) t(i)",
)
CLIENT = """
import statistics, sys, time
import workbench
with workbench.connect(sys.argv[1]) as db:
    times = []
    for _ in range(int(sys.argv[2])):
        started = time.perf_counter()
        db.arrow("SELECT count(*) FROM runs")
        times.append(time.perf_counter() - started)
    print(statistics.median(times) * 1000)
"""


PAGE = """
import resource, sys
from workbench.services.workspace import Workspace
from workbench.settings import Settings
with Workspace.open(Settings(sys.argv[1], "ada")) as workspace:
    with workspace.sql.stream("SELECT 1") as batches:
        next(iter(batches))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with workspace.sql.stream("SELECT * FROM scores") as batches:
        next(iter(batches))
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3)
"""


def fill(path: Path) -> float:
    """Write the store; seconds."""
    from storage.store import Store

    sizes = {"prompts": PROMPTS, "samples": SAMPLES, "models": MODELS, "runs": RUNS, "metrics": METRICS}
    started = time.perf_counter()
    with Store.open(path) as store:
        for sql in FILL:
            store.write(sql.format(**sizes))
            say(f"{time.perf_counter() - started:6.1f} s  {sql[:40]} …")
    return time.perf_counter() - started


def opened(path: Path) -> float:
    """Milliseconds that a process of its own takes to open a store."""
    code = (
        "import sys, time\nfrom storage.store import Store\nstarted = time.perf_counter()\n"
        "store = Store.open(sys.argv[1])\nprint((time.perf_counter() - started) * 1000)\nstore.close()"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])  # DuckDB may show how far a long statement is


def page_megabytes(path: Path) -> float:
    """What a process grows by for the first page of all scores."""
    done = subprocess.run([sys.executable, "-c", PAGE, str(path)], capture_output=True, text=True, check=True)
    return round(float(done.stdout), 1)


def timed(work: Callable[[], Any], repeats: int) -> float:
    """Median milliseconds of some calls, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def lists(path: Path, repeats: int) -> dict[str, float]:
    """What the screens read, in milliseconds."""
    from workbench.services.workspace import Workspace
    from workbench.settings import Settings

    with Workspace.open(Settings(str(path), "ada")) as workspace:
        library, sql = workspace.library, workspace.sql
        prompt = library.prompts(limit=1)[0].prompt_id
        work: dict[str, Callable[[], Any]] = {
            "prompts_first_page": lambda: library.prompts(limit=500),
            "prompts_last_page": lambda: library.prompts(limit=500, offset=PROMPTS - 500),
            "prompts_search": lambda: library.prompts("number 249999", limit=500),
            "prompts_count": lambda: library.count(),
            "header_counts": lambda: library.counts(),
            "responses_of_prompt": lambda: library.responses(prompt),
            "policies": lambda: library.policies(),
            "runs": lambda: workspace.jobs.list(),
            "metrics_of_run": lambda: workspace.jobs.metrics("ppo-7"),
            "next_to_rank": lambda: workspace.judging.next_item("ada"),
            "what_is_left": lambda: workspace.judging.pace("ada"),
            "judged_and_next": lambda: judge(workspace),
            "judged_and_what_is_left": lambda: (judge(workspace), workspace.judging.pace("ada")),
            "compare": lambda: workspace.comparing.win_rate("policy 0", "policy 1", "model 0"),
            "sql_first_page": lambda: first_page(sql, "SELECT * FROM scores"),
            "sql_sorted": lambda: sql.run("SELECT * FROM scores ORDER BY score DESC LIMIT 100"),
        }
        found = {}
        for name, call in work.items():
            found[name] = round(timed(call, repeats), 1)
            say(f"{found[name]:9.1f} ms  {name}")
        return found


def judge(workspace: Any) -> Any:
    """Record a ranking of what waits; the next item."""
    item = workspace.judging.next_item("ada")
    ranks = {found.response_id: place for place, found in enumerate(item.responses, 1)}
    workspace.judging.record(item, "ada", ranks, seconds=1.0)
    return workspace.judging.next_item("ada")


def first_page(sql: Any, text: str) -> int:
    """Rows of the first batch of a query; the others are not computed."""
    with sql.stream(text) as batches:
        return int(next(iter(batches)).num_rows)


def beside(path: Path, repeats: int) -> dict[str, float]:
    """A small SELECT in the holder and through it, and a snapshot through it."""
    from storage.packing import snapshot
    from storage.sharing import share
    from storage.store import Store

    with Store.open(path) as store:
        own = timed(lambda: store.rows("SELECT count(*) FROM runs"), repeats * 10)
        serving = share(store)
        try:
            command = [sys.executable, "-c", CLIENT, str(path), str(repeats * 10)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        finally:
            serving.close()
        started = time.perf_counter()
        rows = snapshot(store, path.with_name("snapshot.duckdb"))
        seconds = time.perf_counter() - started
    return {
        "own_select_ms": round(own, 2),
        "remote_select_ms": round(float(done.stdout), 2),
        "snapshot_seconds": round(seconds, 1),
        "snapshot_rows": rows,
    }


def main() -> None:
    """Fill, open, read; one JSON line."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--keep", type=Path, metavar="FILE", help="a store filled before, or to be kept")
    options = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="store-scale-"))
    path = options.keep or folder / "scale.duckdb"
    try:
        filled = None if path.exists() else round(fill(path), 1)
        empty = folder / "empty.duckdb"
        opened(empty)
        opened(path)  # which may bring a kept one up to date
        figures: dict[str, Any] = {
            "fill_seconds": filled,
            "megabytes": round(path.stat().st_size / 1e6),
            "open_empty_ms": round(statistics.median(opened(empty) for _ in range(options.repeats)), 1),
            "open_full_ms": round(statistics.median(opened(path) for _ in range(options.repeats)), 1),
            "page_megabytes": page_megabytes(path),
            "milliseconds": lists(path, options.repeats),
            "beside": beside(path, options.repeats),
        }
        figures["peak_megabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
        report("store_scale", **figures, versions=versions("duckdb", "pyarrow"))
    finally:
        shutil.rmtree(folder)
        path.with_name("snapshot.duckdb").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
