"""How fast what a run has said gets into the store, and how long a judgement recorded meanwhile waits.

A log of events as a training writes them is taken in by one thread, while another records a judgement of
four responses every few milliseconds.  `waits` are the times of those calls, in milliseconds; `alone` those
of as many with nothing beside.  A judgement waits from its call to its return, when it is on the disk.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path

from engine.protocol.events import Metrics, Progress
from engine.protocol.log import EventLog
from storage import judgements, prompts, responses, runs
from storage.records import JudgedItem, NewJudgement
from storage.store import Store
from tests.benchmarks.common import parser, report, say, versions
from workbench.services.runs.ingest import catch_up

PAUSE = 0.005  # seconds between two judgements


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--events", type=int, default=40_000)
    arguments.add_argument("--values", type=int, nargs="+", default=[1, 4, 30], help="metrics an event")
    arguments.add_argument("--alone", type=int, default=300, help="judgements with nothing beside")
    wanted = arguments.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "a.duckdb") as store:
        answers = ranked(store)
        waits = Waits(store, answers)
        for _ in range(wanted.alone):
            waits.record()
        alone = spread(waits.milliseconds)
        say(f"a judgement alone: {alone}")
        for values in wanted.values:
            run_id = f"ppo-{values}"
            said(store, Path(folder), run_id, wanted.events, values)
            started = time.perf_counter()
            waits = Waits(store, answers)
            with waits:
                catch_up(store, runs.run_row(store, run_id))
            seconds = time.perf_counter() - started
            found[values] = {
                "events_a_second": round(wanted.events / seconds),
                "rows_a_second": round(wanted.events * values / 2 / seconds),
                "waits": spread(waits.milliseconds),
            }
            say(f"{values} metrics an event: {found[values]}")
    report(
        "ingest",
        ratio=min(one["events_a_second"] for one in found.values()) / 20_000,  # type: ignore[operator, type-var]
        events=wanted.events,
        alone=alone,
        by_metrics_an_event=found,
        versions=versions("duckdb"),
    )


def ranked(store: Store) -> tuple[str, list[str]]:
    """A prompt with four responses."""
    prompt = prompts.add(store, [{"role": "user", "content": "Say hello."}])
    return prompt, [responses.add(store, prompt, "base", f"Hello {n}.") for n in range(4)]


def said(store: Store, folder: Path, run_id: str, events: int, values: int) -> None:
    """A run whose log has so many events, every second one metrics, the others progress."""
    path = folder / run_id
    path.mkdir()
    runs.insert_run(store, run_id, "ppo", {"name": "x", "policy": "base"}, run_dir=str(path))
    with EventLog(path / "events.jsonl") as log:
        for n in range(events):
            if n % 2:
                log.append(Progress(stage="training", done=n, total=events, unit="steps"))
            else:
                log.append(Metrics(step=n, values={f"policy/metric_{i}": n / (i + 3) for i in range(values)}))


class Waits:
    """Judgements recorded one after another in a thread, with how long each took."""

    def __init__(self, store: Store, answers: tuple[str, list[str]]) -> None:
        self._store, (self._prompt, self._answers) = store, answers
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.milliseconds: list[float] = []

    def record(self) -> None:
        items = tuple(JudgedItem(answer, n + 1, None, n) for n, answer in enumerate(self._answers))
        started = time.perf_counter()
        judgements.record(self._store, NewJudgement(self._prompt, "ana", "ranking", items))
        self.milliseconds.append(1000 * (time.perf_counter() - started))

    def _work(self) -> None:
        while not self._end.is_set():
            self.record()
            self._end.wait(PAUSE)

    def __enter__(self) -> Waits:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        self._thread.join()


def spread(milliseconds: list[float]) -> dict[str, float]:
    """Of the waits: how many, the middle, what one in a hundred exceeds, and the longest."""
    ordered = sorted(milliseconds)
    return {
        "count": len(ordered),
        "median": round(statistics.median(ordered), 1),
        "p99": round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 1),
        "max": round(ordered[-1], 1),
    }


if __name__ == "__main__":
    main()
