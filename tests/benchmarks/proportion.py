"""Whether work is in proportion to what was judged: `train reward` on a frozen trunk, small store and large.

Both stores hold the same twelve judged prompts with two responses each; the large one holds others besides,
which nobody has judged.  Each stage is timed in turn in both: `snapshot`, what the workbench writes for the
run; `train`, from the request to the end of the run, its worker, ingest and the snapshot in it; `report`; and
`calibration`, the texts that the export measures on.  `ratio` is the small store's time of all over the large
one's, medians.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from engine.protocol.configs import ExportConfig, RewardConfig
from engine.protocol.rundir import RunDir
from storage import judgements, prompts, responses
from storage.records import JudgedItem, NewJudgement
from storage.store import Store
from tests.benchmarks.common import parser, report, say, versions
from tests.fakes import tiny_model_folder
from workbench.services.reports.reports import Reports
from workbench.services.runs import snapshots
from workbench.services.runs.jobs import Jobs

JUDGED = 12
WORDS = "The plant wants light and water, but not too much of either; turn it now and then. " * 8


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--responses", type=int, default=100_000, help="in the large store")
    arguments.add_argument("--times", type=int, default=3)
    arguments.add_argument("--model", default="", help="the trunk; a tiny one unless given")
    wanted = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = wanted.model or str(tiny_model_folder(Path(folder)))
        sizes = {"small": 2 * JUDGED, "large": wanted.responses}
        stores = {}
        for name, size in sizes.items():
            stores[name] = filled(Path(folder) / f"{name}.duckdb", size)
            say(f"{name}: {size:,} responses")
        seconds: dict[str, dict[str, list[float]]] = {name: {} for name in stores}
        for turn in range(wanted.times):
            for name, store in stores.items():
                for stage, took in stages(store, Path(folder) / f"{name}-{turn}", model, turn).items():
                    seconds[name].setdefault(stage, []).append(took)
                say(f"{name}: " + ", ".join(f"{k} {v[-1]:.2f} s" for k, v in seconds[name].items()))
        count = "SELECT count(DISTINCT response_id) FROM scores"
        scored = {name: store.rows(count)[0][0] for name, store in stores.items()}
        for store in stores.values():
            store.close()
    medians = {
        name: {stage: round(statistics.median(took), 3) for stage, took in of.items()}
        for name, of in seconds.items()
    }
    whole = {name: sum(of.values()) for name, of in medians.items()}
    report(
        "proportion",
        ratio=whole["small"] / whole["large"],
        seconds=medians,
        responses=sizes,
        responses_scored=scored,
        versions=versions("duckdb", "torch"),
    )


OTHER_PROMPTS = """
INSERT INTO prompts (prompt_id, text, messages)
SELECT 'p' || substr(sha256('q' || i), 1, 16), 'q' || i,
       json_array(json_object('role', 'user', 'content', 'q' || i))
FROM range($rest) r(i)
"""
OTHER_RESPONSES = """
INSERT INTO responses (response_id, prompt_id, policy_id, sample_index, text)
SELECT 'r' || substr(sha256('a' || i || '-' || k), 1, 16), 'p' || substr(sha256('q' || i), 1, 16), $policy, k,
       $words || i || '-' || k
FROM range($rest) r(i), range(2) s(k)
"""


def filled(path: Path, size: int) -> Store:
    """A store of `size` responses, two a prompt; those of the first prompts are judged."""
    store = Store.open(path)
    for number in range(JUDGED):
        prompt = prompts.add(store, [{"role": "user", "content": f"How do I keep basil alive, {number}?"}])
        texts = (f"{number} {WORDS[:300]}", f"{number} No.")
        good, bad = (responses.add(store, prompt, "base", text) for text in texts)
        items = (JudgedItem(good, 1, None, 0), JudgedItem(bad, 2, None, 1))
        judgements.record(store, NewJudgement(prompt, "ana", "ranking", items))
    rest = size // 2 - JUDGED
    policy = store.rows("SELECT policy_id FROM policies WHERE name = 'base'")[0][0]
    store.write(OTHER_PROMPTS, {"rest": rest})
    store.write(OTHER_RESPONSES, {"rest": rest, "policy": policy, "words": WORDS})
    return store


def stages(store: Store, folder: Path, model: str, turn: int) -> dict[str, float]:
    """Seconds of each stage."""
    config = RewardConfig(name=f"rm-{turn}", policy=model, tuning="frozen", dtype="float32", device="cpu")
    folder.mkdir()
    run = RunDir.create(folder / "reward", config)
    took = {"snapshot": timed(lambda: snapshots.prepare(store, run, config))}
    jobs = Jobs(store)

    def train() -> None:
        row = jobs.wait(jobs.submit("reward", config))
        if row.status != "done":
            raise SystemExit(f"The run ended as {row.status}: {row.reason}")

    took["train"] = timed(train)
    took["report"] = timed(lambda: Reports(store).reward(config.name))
    export = ExportConfig(reward_model=config.name)
    run = RunDir.create(folder / "export", export)
    took["calibration"] = timed(lambda: snapshots.prepare(store, run, export))
    return took


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
