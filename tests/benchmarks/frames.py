"""The longest time that the screen stands still while the workbench computes, in milliseconds.

A ticker in the event loop notes how late it is woken: what holds it up would hold up a frame or a key.  Two
things are measured, in the application as it is, without a terminal:

scoring    somebody types at the score screen, and every pause of 80 ms is scored (`--onnx FOLDER`)
refitting  somebody ranks, and the live model is fitted again and again on 700 pairs × 3,456 features

Beside the second stands the same ranking without a live model.  `ratio` is 50 ms over the longest gap while
something computes, so that 1 is the goal.  On a machine that does other things too, start it with
`chrt -r 1`: otherwise it is their turns on the processor that are measured.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the program's entry point has it

import numpy as np
from textual.pilot import Pilot
from textual.widgets import TextArea

from storage import artifacts, judgements, policies, prompts
from storage.records import JudgedItem, NewJudgement, RewardModelRow
from tests.benchmarks.common import parser, report, say, summary, versions
from workbench.app import WorkbenchApp
from workbench.services.workspace import Workspace
from workbench.settings import Settings

TICK = 0.002
GOAL_MS = 50.0
WORDS = "the brightest window you have, and water it when the top of the soil is dry "


class Ticker:
    """Notes by how much each of its ticks is late."""

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._stop = False

    async def run(self) -> None:
        while not self._stop:
            begun = time.perf_counter()
            await asyncio.sleep(TICK)
            self.late_ms.append((time.perf_counter() - begun - TICK) * 1000)

    def stop(self) -> None:
        self._stop = True

    def figures(self) -> dict[str, float]:
        """Longest gap, and how late all but one in a hundred ticks are."""
        late = sorted(self.late_ms)
        return {
            "longest": round(late[-1], 1),
            "p99": round(late[int(0.99 * (len(late) - 1))], 1),
            "median": round(statistics.median(late), 2),
            "ticks": len(late),
        }


async def gaps_while(work: Callable[[], Awaitable[None]]) -> dict[str, float]:
    """How late the ticker is while `work` goes on in the same event loop."""
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())
    await work()
    ticker.stop()
    await ticking
    return ticker.figures()


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until the condition holds."""
    deadline = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > deadline:
            raise SystemExit("The application did not get there; is the machine busy?")
        await asyncio.sleep(0.01)


def fill(workspace: Workspace, folder: Path, *, live: bool) -> None:
    """130 prompts with 5 responses, judgements of 70 prompts (700 pairs), and features for a live model."""
    from engine.frozen.store import FILE, FeatureInfo, write_features

    store, rng = workspace.store, np.random.default_rng(0)
    chats = [[{"role": "user", "content": f"Question {n} about basil."}] for n in range(130)]
    made = prompts.add_many(store, chats, source="benchmark")
    ids = [[f"r{n:08x}{k:08x}" for k in range(5)] for n in range(len(made))]
    store.write(
        "INSERT INTO responses (response_id, prompt_id, policy_id, text) "
        "SELECT unnest($ids), unnest($prompts), $policy, 'Answer ' || unnest($ids) || repeat(' words', 99)",
        {
            "ids": [key for row in ids for key in row],
            "prompts": [prompt for prompt in made for _ in range(5)],
            "policy": policies.ensure(store, "a"),
        },
    )
    info = FeatureInfo("benchmark", "none", (12, 18, 24), ("last", "mean"), 3456, "float32", "chat")
    (folder / "features").mkdir()
    features = rng.normal(size=(650, 3456)).astype(np.float32)
    write_features(folder / "features" / FILE, info, [([key for row in ids for key in row], features)])
    if live:
        path = str(folder / "features")
        artifacts.insert(store, run_id="reward-0", kind="features", name="benchmark", path=path)
    new = []
    for prompt, row in list(zip(made, ids, strict=True))[:70]:
        order = rng.permutation(5)
        new.append(
            NewJudgement(
                prompt,
                "ada",
                "ranking",
                tuple(JudgedItem(row[k], rank=place + 1) for place, k in enumerate(order)),
            )
        )
    judgements.record_many(store, new)


async def ranking(workspace: Workspace, rankings: int, *, live: bool) -> dict[str, Any]:
    """Rank prompts by keyboard, with a live model that follows or without; gaps, and seconds of the fits."""
    app, seconds = WorkbenchApp(workspace), []
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("f3")
        screen: Any = app.screen
        await until(lambda: screen.item is not None and (workspace.live.state.refits > 0) == live)

        async def rank() -> None:
            for _ in range(rankings):
                before = workspace.judging.pace("ada").done
                for key in "abcde":
                    screen.action_letter(key.upper())
                    await asyncio.sleep(0.05)
                screen.action_submit()
                await until(lambda done=before: screen.pace.done > done and screen.item is not None)  # type: ignore[misc]
                seconds.append(workspace.live.state.seconds or 0.0)
            await until(lambda: not workspace.live.state.working)

        gaps = await gaps_while(rank)
        seconds.append(workspace.live.state.seconds or 0.0)
    refits = {"refits": workspace.live.state.refits, "refit_seconds": summary(seconds)} if live else {}
    return {"gaps_ms": gaps, **refits}


async def scoring(workspace: Workspace, onnx: Path, precision: str, keys: int) -> dict[str, float]:
    """Type at the score screen while an exported reward model scores."""
    exported = RewardModelRow(
        "f1", "exported", "", None, str(onnx), (precision,), None, None, datetime.now(UTC)
    )
    workspace.library.reward_models = lambda: [exported]  # type: ignore[method-assign]
    from engine.scoring import Scorer

    scorer = Scorer.open(onnx, precision)  # type: ignore[arg-type]
    workspace.scoring.scorer = lambda name, chosen="int8": scorer  # type: ignore[method-assign,assignment]
    app = WorkbenchApp(workspace)
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("f4")
        screen: Any = app.screen
        await until(lambda: screen._shown is not None)
        return await gaps_while(lambda: typed(pilot, screen, keys))


async def typed(pilot: Pilot[None], screen: Any, keys: int) -> None:
    """Ten characters a second at the end of response A, and now and then one in its middle."""
    area = screen.query_one("#text-a", TextArea)
    for number in range(keys):
        if number % 20 == 19:
            area.insert("x", (0, len(area.text) // 2) if "\n" not in area.text else (0, 0))
        else:
            area.insert(WORDS[number % len(WORDS)], area.document.end)
        await asyncio.sleep(0.1)
    await until(lambda: screen._shown == screen._wanted)


def opened(folder: Path, name: str, *, live: bool = False) -> Workspace:
    """A fresh store in a folder."""
    (folder / name).mkdir()
    workspace = Workspace.open(Settings(db=str(folder / name / "store.duckdb"), annotator="ada"))
    fill(workspace, folder / name, live=live)
    return workspace


def main() -> None:
    """Measure both and print the longest gap."""
    arguments = parser(__doc__ or "")
    arguments.add_argument(
        "--onnx", type=Path, help="folder of an exported reward model; without it no scoring"
    )
    arguments.add_argument("--precision", default="int8")
    arguments.add_argument("--keys", type=int, default=150)
    arguments.add_argument("--rankings", type=int, default=20)
    options = arguments.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, live in (("ranking", False), ("refitting", True)):
            with opened(Path(folder), name, live=live) as workspace:
                figures[name] = asyncio.run(ranking(workspace, options.rankings, live=live))
            say(f"{name}: {figures[name]}")
        if options.onnx is not None:
            with opened(Path(folder), "score") as workspace:
                gaps = asyncio.run(scoring(workspace, options.onnx, options.precision, options.keys))
            figures["scoring"] = {"gaps_ms": gaps, "precision": options.precision}
    longest = max(part["gaps_ms"]["longest"] for name, part in figures.items() if name != "ranking")
    report(
        "longest gap of the event loop",
        **figures,
        longest_ms=longest,
        ratio=round(GOAL_MS / longest, 2),
        versions=versions("textual", "numpy", "onnxruntime-gpu"),
    )


if __name__ == "__main__":
    main()
