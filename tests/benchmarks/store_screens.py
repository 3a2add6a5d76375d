"""What screens of results read in a store of a million responses: report, leaderboard, experiments, runs.

`--keep FILE` is a store that `store_scale --keep FILE` has filled; what people and an experiment have said is
added to it once: 55,000 rankings of four responses by five annotators, every tenth prompt by two of them, the
split of a reward model over the judged prompts, and three arms with three seeds that answer 1,000 prompts
four times.  Milliseconds, the first call and the median of those after it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.common import parser, report, say, versions

JUDGED, PEOPLE = 50_000, 5
FILE = """name = "large"
seeds = [0, 1, 2]
judge = "model 1"
[settings]
policy = "policy 0"
reward_model = "model 0"
[sample]
prompts = "source 0"
samples = 4
[methods.ppo]
[methods.grpo]
"""
ADD = (
    "INSERT INTO annotators (annotator_id, name, kind) "
    f"SELECT 'a' || i, 'ada ' || i, 'human' FROM range({PEOPLE}) t(i)",
    f"CREATE TEMP TABLE judged AS SELECT i, 0 AS again FROM range({JUDGED}) t(i) "
    f"UNION ALL SELECT i, 1 FROM range(0, {JUDGED}, 10) t(i)",
    "INSERT INTO judgements (judgement_id, prompt_id, annotator_id, kind, seconds, created_at) "
    "SELECT 'j' || again || printf('%015x', i), 'p' || printf('%016x', i), "
    f"'a' || ((i // 10 + again) % {PEOPLE}), 'ranking', 5 + i % 20, "
    "TIMESTAMP '2026-02-01' + to_seconds(60 * i) FROM judged",
    "INSERT INTO judgement_items (judgement_id, response_id, rank, position) "
    "SELECT 'j' || again || printf('%015x', i), 'r' || printf('%016x', i * 4 + k), "
    "row_number() OVER (PARTITION BY i, again ORDER BY k + hash(i, k, again) % 4), k "
    "FROM judged, range(4) u(k)",
    "DROP TABLE judged",
    "INSERT INTO runs (run_id, kind, status, config) "
    "VALUES ('reward-0', 'reward', 'done', '{\"name\": \"model 0\"}')",
    "UPDATE artifacts SET run_id = 'reward-0' WHERE name = 'model 0'",
    "INSERT INTO run_prompts SELECT 'reward-0', 'p' || printf('%016x', i), "
    f"if(i % 5 = 0, 'heldout', 'train') FROM range({JUDGED}) t(i)",
    f"INSERT INTO experiments (experiment, text, judge) VALUES ('large', '{FILE}', 'model 1')",
    "CREATE TEMP TABLE arms AS SELECT arm, seed, 'large ' || arm || ' ' || seed AS policy, "
    "'generate-' || arm || seed AS run_id FROM unnest(['start', 'ppo', 'grpo']) t(arm), range(3) u(seed)",
    "INSERT INTO runs (run_id, kind, status, config) SELECT run_id, 'generate', 'done', '{}' FROM arms",
    "INSERT INTO policies (policy_id, name) SELECT 'x' || run_id, policy FROM arms",
    "INSERT INTO experiment_runs (experiment, arm, seed, role, run_id, settings) "
    "SELECT 'large', arm, seed, 'sample', run_id, json_object('policy', policy) FROM arms",
    "INSERT INTO responses "
    "(response_id, prompt_id, policy_id, run_id, sample_index, text, token_ids, created_at) "
    "SELECT run_id || i || k, 'p' || printf('%016x', i), 'x' || run_id, run_id, k, "
    "'Answer ' || hash(i, k), [1, 2, 3], TIMESTAMP '2026-02-02' FROM arms, range(1000) t(i), range(4) u(k)",
    "INSERT INTO scores (response_id, reward_model_id, score, backend) SELECT response_id, 'f1', "
    "(hash(response_id) % 10000) / 1000, 'onnx-fp32' FROM responses WHERE run_id LIKE 'generate-%'",
    "DROP TABLE arms",
)


def add(path: Path) -> None:
    """What people and the experiment have said, unless it is there."""
    from storage.store import Store

    with Store.open(path) as store:
        if store.row("SELECT 1 FROM experiments"):
            return
        for sql in ADD:
            store.write(sql) if sql.startswith(("INSERT", "UPDATE")) else store.cursor().execute(sql)


def timed(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Milliseconds of the first call, and the median of the others."""
    times = []
    for _ in range(1 + repeats):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    return {"first": round(times[0], 1), "again": round(statistics.median(times[1:]), 1)}


def screens(path: Path, repeats: int) -> dict[str, dict[str, float]]:
    """What each screen reads when it opens."""
    from workbench.services.workspace import Workspace
    from workbench.settings import Settings

    with Workspace.open(Settings(str(path), "ada 0")) as workspace:
        labels = workspace.labels
        work: dict[str, Callable[[], Any]] = {
            "runs": lambda: workspace.jobs.list(),
            "run_of_them": lambda: (workspace.jobs.show("ppo-7"), workspace.jobs.metrics("ppo-7")),
            "experiments": lambda: workspace.experiments.listed(),
            "experiment": lambda: workspace.experiments.result("large"),
            "judges": lambda: workspace.leaderboards.judges(),
            "leaderboard_by_people": lambda: workspace.leaderboards.board("people"),
            "leaderboard_by_model": lambda: workspace.leaderboards.board("model 0"),
            "agreement": lambda: labels.agreement("overall"),
            "report": lambda: workspace.reports.reward("model 0", None),
        }
        found = {}
        for name, call in work.items():
            found[name] = timed(call, repeats)
            say(f"{found[name]['first']:9.1f} {found[name]['again']:9.1f} ms  {name}")
        return found


def main() -> None:
    """Add what is missing, read; one JSON line."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--keep", type=Path, required=True, metavar="FILE", help="filled by store_scale")
    options = arguments.parse_args()
    if not options.keep.exists():
        raise SystemExit(
            f"{options.keep} is not there; python -m tests.benchmarks.store_scale --keep makes it."
        )
    add(options.keep)
    report("store_screens", milliseconds=screens(options.keep, options.repeats), versions=versions("duckdb"))


if __name__ == "__main__":
    main()
