"""A store of a million responses: opening it, its lists, SQL over five million scores, and from beside.

The rows are made in SQL: 250,000 prompts with four responses each, five reward models' scores of every
response, 2,000 runs of 10,000 metrics.  Times are medians over `--repeats`; the store is kept with `--keep`.
"""

from __future__ import annotations

import json
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

PROMPTS, SAMPLES, MODELS, RUNS, METRICS = 250_000, 4, 5, 2_000, 10_000
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
import json, random, resource, sys, time
from workbench.services.workspace import Workspace
from workbench.settings import Settings
from workbench.screens.sql.results import measured

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

def ask(text):
    shown = []
    def came(rows):
        backend = measured(rows)
        backend.get_row_at(0)
        shown.append((time.perf_counter() - started, peak(), backend))
        return lambda batch: backend.measure(batch, 4)
    started = time.perf_counter()
    workspace.sql.question(text).rows(came)
    return *shown[0], time.perf_counter() - started

with Workspace.open(Settings(sys.argv[1], "ada")) as workspace:
    ask("SELECT 1 AS one")
    before = peak()
    first, at_first, backend, whole = ask("SELECT * FROM scores")
    rows = backend.row_count
    started = time.perf_counter()
    for row in random.Random(0).sample(range(rows), 200):
        backend.get_row_at(row)
    print(json.dumps({
        "rows": rows,
        "first_page_ms": round(first * 1000, 1), "first_page_megabytes": round(at_first - before, 1),
        "all_seconds": round(whole, 1), "all_megabytes": round(peak() - before, 1),
        "any_row_ms": round((time.perf_counter() - started) * 5, 2)}))
"""


def fill(path: Path) -> float:
    """Write the store; seconds."""
    from storage import runs
    from storage.store import Store

    sizes = {"prompts": PROMPTS, "samples": SAMPLES, "models": MODELS, "runs": RUNS, "metrics": METRICS}
    started = time.perf_counter()
    with Store.open(path) as store:
        for sql in FILL:
            store.write(sql.format(**sizes))
            say(f"{time.perf_counter() - started:6.1f} s  {sql[:40]} …")
        runs.read_latest(store, [f"ppo-{run}" for run in range(RUNS)])
    return time.perf_counter() - started


def opened(path: Path) -> float:
    """Milliseconds that a process of its own takes to open a store."""
    code = (
        "import sys, time\nfrom storage.store import Store\nstarted = time.perf_counter()\n"
        "store = Store.open(sys.argv[1])\nprint((time.perf_counter() - started) * 1000)\nstore.close()"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])  # DuckDB may show how far a long statement is


def scrolled(path: Path) -> Any:
    """What the SQL screen does with all scores, in a process of its own: the first page, all, any row."""
    done = subprocess.run([sys.executable, "-c", PAGE, str(path)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


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
    from workbench.services.comparing import PromptOutcome
    from workbench.services.workspace import Workspace
    from workbench.settings import Settings

    with Workspace.open(Settings(str(path), "ada")) as workspace:
        library, sql = workspace.library, workspace.sql
        prompt = library.prompts(limit=1)[0].prompt_id
        some = [PromptOutcome(f"p{n:016x}", 0.5) for n in range(5_000, 5_050)]
        work: dict[str, Callable[[], Any]] = {
            "prompts_first_page": lambda: library.prompts(limit=500),
            "prompts_last_page": lambda: library.prompts(limit=500, offset=PROMPTS - 500),
            "prompts_page_behind": lambda: library.prompts(limit=200, after=f"p{PROMPTS - 201:016x}"),
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
            "compared_prompts": lambda: workspace.comparing.outcomes("policy 0", "policy 1", "model 0"),
            "compared_page": lambda: workspace.comparing.items_of("policy 0", "policy 1", some, "model 0"),
            "overview": lambda: library.overview(),
            "sql_run_summary": lambda: sql.run("SELECT * FROM run_summary LIMIT 100"),
            "sql_first_page": lambda: first_page(sql, "SELECT * FROM scores"),
            "sql_sorted": lambda: sql.run("SELECT * FROM scores ORDER BY score DESC LIMIT 100"),
        }
        found = {}
        for name, call in work.items():
            found[name] = round(timed(call, repeats), 1)
            say(f"{found[name]:9.1f} ms  {name}")
        return found


def in_and_out(path: Path, folder: Path) -> dict[str, float]:
    """Seconds of an import of 20,000 pairs, of all scores into Parquet, and of 20,000 events of a run."""
    from storage import runs
    from storage.store import Store
    from tests.benchmarks.ingest import said
    from workbench.services.library import Library
    from workbench.services.runs.ingest import catch_up

    pairs = folder / "pairs.jsonl"
    with pairs.open("w") as file:
        for n in range(20_000):
            row = {"prompt": f"A new prompt {n}?", "chosen": f"Yes, {n} it is.", "rejected": f"No, not {n}."}
            file.write(json.dumps(row) + "\n")
    run_id = f"ppo-{time.time_ns()}"
    with Store.open(path) as store:
        said(store, folder, run_id, 20_000, 4)
        work: dict[str, Callable[[], Any]] = {
            "export_scores": lambda: Library(store).export("scores", folder / "scores.parquet"),
            "import_pairs": lambda: Library(store).import_file(pairs),
            "ingest_events": lambda: catch_up(store, runs.run_row(store, run_id)),
        }
        found = {}
        for name, call in work.items():
            started = time.perf_counter()
            call()
            found[name] = round(time.perf_counter() - started, 2)
            say(f"{found[name]:9.2f} s   {name}")
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
    from storage.share.sharing import share
    from storage.store import Store
    from storage.transfer.packing import snapshot

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


def openings(path: Path, folder: Path, repeats: int) -> dict[str, float]:
    """Milliseconds until an empty store is open, and this one."""
    empty = folder / "empty.duckdb"
    opened(empty)
    opened(path)  # which may bring a kept one up to date
    return {
        "empty_ms": round(statistics.median(opened(empty) for _ in range(repeats)), 1),
        "full_ms": round(statistics.median(opened(path) for _ in range(repeats)), 1),
    }


def main() -> None:
    """Fill, open, read; one JSON line."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--keep", type=Path, metavar="FILE", help="a store filled before, or to be kept")
    arguments.add_argument("--only", nargs="*", default=[], help="names of parts, in the place of all")
    options = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="store-scale-"))
    path = options.keep or folder / "scale.duckdb"
    parts: dict[str, Callable[[], Any]] = {
        "opening": lambda: openings(path, folder, options.repeats),
        "sql_screen": lambda: scrolled(path),
        "milliseconds": lambda: lists(path, options.repeats),
        "in_and_out": lambda: in_and_out(path, folder),
        "beside": lambda: beside(path, options.repeats),
    }
    try:
        filled = None if path.exists() else round(fill(path), 1)
        figures: dict[str, Any] = {"fill_seconds": filled, "megabytes": round(path.stat().st_size / 1e6)}
        for name, measure in parts.items():
            if not options.only or name in options.only:
                figures[name] = measure()
                say(f"{name}: {figures[name]}")
        figures["peak_megabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
        report("store_scale", **figures, versions=versions("duckdb", "pyarrow"))
    finally:
        shutil.rmtree(folder)
        path.with_name("snapshot.duckdb").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
