"""What it costs to look on while a job runs: share of a core that the process spends which only tails it.

The job says where it is five times a second and writes thirty metrics a second, as a training does, and
computes nothing.  `follow` is what `workbench train` does, `demo` a stage of the demo, `screen` the workbench
in a terminal with the form of a job open; each is measured by its processor time as the system counts it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.errors import WorkbenchError
from engine.protocol.building import build
from engine.protocol.events import Finished, Metrics, Progress, Started
from engine.protocol.log import EventLog
from engine.protocol.rundir import RunDir
from storage import policies, prompts
from storage.store import Store
from tests.benchmarks.common import parser, report, say, versions
from tests.workbench.ui_rank.terminal import Terminal
from workbench.services.runs.jobs import Jobs

F8, ENTER = "\x1b[19~", "\r"
WORKER = (sys.executable, "-m", "tests.benchmarks.tailing", "--worker")


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--worker", type=Path, help="be the job in this run directory")
    arguments.add_argument("--tail", nargs=2, metavar=("WAY", "DB"), help="be the process that tails")
    arguments.add_argument("--seconds", type=float, default=20.0)
    arguments.add_argument("--ways", nargs="+", default=["follow", "demo", "screen"])
    wanted = arguments.parse_args()
    if wanted.worker:
        work(RunDir(wanted.worker))
        return
    found = {}
    for way in wanted.ways:
        found[way] = share(way, wanted.seconds)
        say(f"{way}: {found[way]:.2%} of a core")
    report("tailing", ratio=0.01 / max(found.values()), share=found, versions=versions("textual", "duckdb"))


def work(run: RunDir) -> None:
    """Say what a training says until asked to stop."""
    with EventLog(run.events_path) as log:
        log.append(Started(pid=os.getpid(), device="cpu", versions={}))
        tick = 0
        while run.path.exists() and not run.stop_path.exists():
            log.append(
                Progress(
                    stage="training", done=tick, total=10**6, unit="steps", rate=5.0, rate_unit="steps/s"
                )
            )
            if tick % 5 == 0:
                log.append(Metrics(step=tick, values={f"policy/m_{i}": tick / (i + 1) for i in range(30)}))
            tick += 1
            time.sleep(0.2)
        log.append(Finished())


def share(way: str, seconds: float) -> float:
    """Processor time over wall time of the process that tails."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.duckdb"
        with Store.open(path) as store:
            run_id = started(store)
            if way != "screen":
                return {"follow": follow, "demo": demo}[way](Jobs(store, worker=WORKER), run_id, seconds)
        try:
            with Terminal("--db", str(path), home=Path(folder), columns=120, rows=36) as terminal:
                terminal.wait_for("Prompts", 60)
                for keys in (F8, ENTER):
                    time.sleep(4)
                    terminal.send(keys)
                time.sleep(6)
                return spent(terminal.process.pid, lambda: time.sleep(seconds))
        finally:
            RunDir(path.with_suffix(".runs") / run_id).stop_path.touch()


def started(store: Store) -> str:
    """A job that runs."""
    prompts.add(store, [{"role": "user", "content": "Say hello."}])
    policies.ensure(store, "base", model="base")
    jobs = Jobs(store, worker=WORKER)
    config = build(_generate(), {"policy": "tests/none"})
    run_id = jobs.submit("generate", config)
    while jobs.show(run_id).started_at is None or not jobs.show(run_id).progress:
        jobs.pump()
        time.sleep(0.1)
    return run_id


def _generate() -> type:
    from engine.protocol.configs import GenerateConfig

    return GenerateConfig


def follow(jobs: Jobs, run_id: str, seconds: float) -> float:
    """As `workbench train` does, in this process."""
    from workbench.cli.following import Teller
    from workbench.cli.narration import Narrator

    return _until_stopped(jobs, run_id, seconds, lambda: jobs.wait(run_id, Teller(Narrator())))


def demo(jobs: Jobs, run_id: str, seconds: float) -> float:
    """As a stage of the demo does."""
    from types import SimpleNamespace

    from workbench.services.demo import Demo

    running = Demo(SimpleNamespace(jobs=jobs))  # type: ignore[arg-type]
    running._known_run = lambda kind, config: run_id  # type: ignore[method-assign]
    stage = running._job("generate", "generate", running.plan.generate)
    return _until_stopped(jobs, run_id, seconds, lambda: _told(stage))


def _told(stage: Iterator[object]) -> None:
    with contextlib.suppress(WorkbenchError):  # the stage has been stopped
        for _ in stage:
            pass


def _until_stopped(jobs: Jobs, run_id: str, seconds: float, tail: Callable[[], object]) -> float:
    thread = threading.Thread(target=tail)
    thread.start()
    time.sleep(2)
    found = spent(os.getpid(), lambda: time.sleep(seconds))
    jobs.stop(run_id)
    thread.join()
    return found


def spent(pid: int, wait: Callable[[], None]) -> float:
    """Share of a core that a process uses while `wait` runs."""
    ticks, began = _ticks(pid), time.monotonic()
    wait()
    return (_ticks(pid) - ticks) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    main()
