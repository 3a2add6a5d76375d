"""Draw the README's pictures: `python -m tests.pictures FOLDER [--db PATH]`.

The application itself exports them as SVG, over a store in which the demo has run, so what they show is what
a person sees after `workbench demo`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from workbench.app import WorkbenchApp
from workbench.services.workspace import Workspace
from workbench.settings import default_db_path, load_settings

SIZE = (110, 34)
WIDE = (150, 44)
RANK_SIZES = ((80, 24), (140, 40), (200, 60))
"""The rank screen is drawn in these too: side by side, one at a time, and with room for the whole prompt."""
SMALL = (80, 24)
SQL = (
    "SELECT judged_by, policy_a, policy_b, prompts, round(rate, 3) AS rate, "
    "round(standard_error, 3) AS error\n"
    "FROM win_rates WHERE policy_a < policy_b ORDER BY prompts DESC"
)

ANSWERS = ("Air scatters blue light more.", "It mirrors the sea.", "Nobody knows.")
STUDY = [
    {
        "question": f"Why is the sky {colour}?",
        "answer_a": ANSWERS[n % 3],
        "answer_b": ANSWERS[(n + 1) % 3],
        "preference": (-2, 1, 0)[n % 3],
        "rater": "ada" if n % 2 else "ben",
        "persona": "You are a teacher of young children.",
        "margin_note": None if n % 2 else "hm",
    }
    for n, colour in enumerate(("blue", "red at dusk", "black at night", "white", "grey", "green"))
]


async def settle(pilot: Pilot[None], seconds: float = 1.0) -> None:
    """Let threads fetch and draw: what a person sees a moment after the key."""
    for _ in range(int(seconds * 10)):
        await asyncio.sleep(0.1)
    await pilot.pause()


async def rank(pilot: Pilot[None]) -> None:
    """Three responses in order, two of them equal."""
    await pilot.press("b", "a", "=", "d")
    await settle(pilot, 0.3)


async def score(pilot: Pilot[None]) -> None:
    """Text in the three editors; the heat lines follow."""
    from textual.widgets import TextArea

    texts = (
        "Why is the sky blue?",
        "Air scatters blue light more than red.",
        "Well, that is a long story, and many people have told it in many ways over the years, so sit down",
    )
    for area, text in zip(pilot.app.screen.query(TextArea), texts, strict=False):
        area.text = text
    await settle(pilot, 8.0)


async def runs(pilot: Pilot[None]) -> None:
    """The PPO run with its charts."""
    await pilot.press("down", "enter")
    await settle(pilot, 3.0)


async def tokens(pilot: Pilot[None]) -> None:
    """The last traced response of the PPO run, at its KL."""
    await runs(pilot)
    await pilot.press("t")
    await settle(pilot, 2.0)
    await pilot.press("right", "right", "down", "down")
    await settle(pilot, 0.5)


async def samples(pilot: Pilot[None]) -> None:
    """Its last step beside the first."""
    await runs(pilot)
    await pilot.press("s", "b")
    await settle(pilot, 2.0)


async def overoptimisation(pilot: Pilot[None]) -> None:
    """Its proxy, and gold where there is one, against √KL."""
    await runs(pilot)
    await pilot.press("g")
    await settle(pilot, 2.0)


async def report(pilot: Pilot[None]) -> None:
    """The report of the newest reward model."""
    app = pilot.app
    assert isinstance(app, WorkbenchApp)
    newest = app.workspace.library.reward_models()[-1].name
    app.action_report(newest)
    await settle(pilot, 6.0)


async def query(pilot: Pilot[None]) -> None:
    """One question to the store and its answer."""
    from textual.widgets import TextArea

    pilot.app.screen.query_one(TextArea).text = SQL
    await pilot.press("f9")
    await settle(pilot, 2.0)


async def experiments(pilot: Pilot[None]) -> None:
    """The newest experiment: its arms beside each other, who beat whom."""
    app = pilot.app
    assert isinstance(app, WorkbenchApp)
    app.action_experiments()
    await settle(pilot, 3.0)


async def steps(pilot: Pilot[None]) -> None:
    """The newest process reward model on a response of three lines: each line in the colour of its score."""
    from textual.widgets import TextArea

    answer = "A dog has four legs.\nSeven the cold of bread wings are water.\nSnow is cold and white."
    texts = ("Tell me three things.", answer)
    for area, text in zip(pilot.app.screen.query(TextArea), texts, strict=False):
        area.text = text
    await settle(pilot, 8.0)


async def rounds(pilot: Pilot[None]) -> None:
    """The samples of a run that waits for people, half of them ranked."""
    await pilot.press("b", "a")
    await settle(pilot, 0.3)


async def importing(pilot: Pilot[None]) -> None:
    """The sheet of a file that no preset knows, with what should be looked at."""
    from textual.widgets import Input

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "study.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in STUDY))
        await pilot.press("i")
        await settle(pilot)
        pilot.app.screen.query_one("#path", Input).value = str(path)
        await pilot.press("enter")
        await settle(pilot, 3.0)


async def nothing(pilot: Pilot[None]) -> None:
    """The screen as it opens."""


SCREENS: tuple[tuple[str, str, Callable[[Pilot[None]], Awaitable[None]]], ...] = (
    ("prompts", "f2", nothing),
    ("import", "f2", importing),
    ("rank", "f3", rank),
    ("score", "f4", score),
    ("runs", "f5", runs),
    ("samples", "f5", samples),
    ("tokens", "f5", tokens),
    ("overoptimisation", "f5", overoptimisation),
    ("report", "f5", report),
    ("compare", "f6", nothing),
    ("sql", "f7", query),
    ("launch", "f8", nothing),
    ("experiments", "f5", experiments),
)
OTHERS: tuple[tuple[str, str, Callable[[Pilot[None]], Awaitable[None]]], ...] = (
    ("steps", "f4", steps),
    ("preference", "f5", report),
    ("waiting", "f5", nothing),
    ("rounds", "f3", rounds),
)
"""Of stores in which more than the demo has run; drawn when they are named with --only."""
ROOMY = ("report", "experiments", "preference")
"""Screens with tables that need room."""


def copy_traces(source: Path, target: Path) -> None:
    """The token traces lie beside the store; the models there are large and not drawn."""
    for traces in source.glob("*/traces"):
        shutil.copytree(traces, target / traces.parent.name / "traces")


async def draw(folder: Path, database: Path, wanted: set[str]) -> None:
    """Go from screen to screen by key and save each as FOLDER/<name>.svg."""
    workspace = Workspace.open(load_settings(db=str(database)))
    try:
        chosen = [one for one in (*SCREENS, *OTHERS) if one[0] in wanted] if wanted else SCREENS
        for name, key, prepare in chosen:
            if name == "experiments" and not workspace.experiments.listed():
                continue  # the demo has none; a store that has is named with --db
            sizes = {name: SMALL if name == "import" else WIDE if name in ROOMY else SIZE}
            if name == "rank":
                sizes |= {f"rank-{columns}x{rows}": (columns, rows) for columns, rows in RANK_SIZES}
            for file, size in sizes.items():
                app = WorkbenchApp(workspace)
                async with app.run_test(size=size) as pilot:
                    await settle(pilot)
                    await pilot.press(key)
                    await settle(pilot, 2.0)
                    await prepare(pilot)
                    app.save_screenshot(filename=f"{file}.svg", path=str(folder))
                    print(folder / f"{file}.svg", file=sys.stderr)
    finally:
        workspace.close()


def main() -> None:
    """Copy the store, so that drawing leaves no trace in it, and draw."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument(
        "--db", type=Path, help="a store in which the demo has run; default: the demo's own"
    )
    arguments.add_argument("--only", nargs="*", default=[], help="names of screens")
    options = arguments.parse_args()
    source = options.db or default_db_path().with_name("demo.duckdb")
    if not source.exists():
        raise SystemExit(f"{source} does not exist: run `workbench demo` first, or name a store with --db.")
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / source.name
        shutil.copy(source, copy)
        copy_traces(source.with_suffix(".runs"), copy.with_suffix(".runs"))
        asyncio.run(draw(options.folder, copy, set(options.only)))


if __name__ == "__main__":
    main()
