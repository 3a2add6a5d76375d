"""From Tab to the help of the next field, in the form of PPO: milliseconds, in the real application.

The application runs in a pseudo-terminal of 80 × 24 or 160 × 48 cells; Tab goes forward through the
settings that are not folded and shift+Tab back, `--rounds` times.  The clock stops when what the field
takes has come out of the terminal.  With `--load` two processes multiply matrices meanwhile, at the priority
of a training.  `ratio` is 50 ms over the p95, so that 1 is the goal.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.protocol.catalog import JOBS
from tests.benchmarks.common import parser, report, say, versions
from tests.benchmarks.ranking_latency import BURN, figures, seconds_to
from tests.workbench.ui_rank.terminal import KEYS, Terminal
from workbench.services.runs.form_groups import ESSENTIALS

KIND = "ppo"
TAB, BACK = "\t", "\x1b[Z"
STANDS = "Takes "
"""What the help of every field says."""
READING = 0.15


def tabs(terminal: Terminal, rounds: int) -> list[float]:
    """Seconds from each Tab until the help of the field stands there."""
    found = []
    for _ in range(rounds):
        for key in (TAB, BACK):
            for _ in ESSENTIALS[KIND][1:]:
                found.append(seconds_to(terminal, key, STANDS))
                time.sleep(READING)
    return found


def main() -> None:
    arguments = parser("form latency")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--load", action="store_true", help="beside two processes that multiply matrices")
    options = arguments.parse_args()
    results = {}
    for columns, rows in ((80, 24), (160, 48)):
        burning = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(2 if options.load else 0)]
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "store.duckdb"
                with Terminal("--db", str(path), home=Path(folder), columns=columns, rows=rows) as terminal:
                    terminal.wait_for("No prompts yet", 60)
                    terminal.send(KEYS["f8"])
                    terminal.wait_for(JOBS[KIND].title, 60)
                    terminal.send(KEYS["down"] * list(JOBS).index(KIND))
                    seconds_to(terminal, "\r", STANDS)
                    time.sleep(2)
                    say(f"{KIND} at {columns} × {rows}")
                    results[f"{columns}x{rows}"] = figures(tabs(terminal, options.rounds))
                    terminal.send(KEYS["esc"])
                    time.sleep(0.5)
                    terminal.quit()
        finally:
            for process in burning:
                process.kill()
    worst = max(each["p95"] for each in results.values())
    report(
        "form_latency",
        load=options.load,
        results=results,
        ratio=round(50 / worst, 2),
        versions=versions("textual"),
    )


if __name__ == "__main__":
    main()
