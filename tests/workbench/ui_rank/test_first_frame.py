"""The first frame needs nothing heavy, and other screens are imported only when they are opened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import asyncio, json, sys
from workbench.settings import load_settings
from workbench.start import open_in_thread

future = open_in_thread(load_settings(db=sys.argv[1]))

from workbench.app import WorkbenchApp

async def main():
    app = WorkbenchApp(future.result)
    painted = asyncio.Event()
    app.first_painted = painted.set
    async with app.run_test() as pilot:
        await asyncio.wait_for(painted.wait(), 30)
        await pilot.pause()
        print(json.dumps(sorted(sys.modules)))

asyncio.run(main())
"""
HEAVY = {
    "torch",
    "transformers",
    "polars",
    "pyarrow",
    "onnxruntime",
    "tokenizers",
    "numpy",
    "pandas",
    "typer",
    "jinja2",
}


def test_nothing_heavy_before_the_first_frame(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "empty.duckdb")],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(json.loads(result.stdout.strip().splitlines()[-1]))
    assert not HEAVY & modules
    screens = {name for name in modules if name.startswith("workbench.screens.")}
    assert screens == {"workbench.screens.base", "workbench.screens.prompts"}
