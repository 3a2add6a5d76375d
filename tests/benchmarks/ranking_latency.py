"""From a key to what it does on the terminal, while one ranks: milliseconds, in the real application.

The application runs in a pseudo-terminal of 80 × 24 or 160 × 48 cells on a store with 4 responses of 4 kB a
prompt and, unless told otherwise, a hundred thousand prompts and a million responses behind them.  A key is
written, and the clock stops when what it does has come out of the terminal:

letter   a letter places a response
next     ⏎ records a ranking and the next prompt stands there
burst    rankings typed at 30 keys a second, without waiting: how many were recorded as typed

With `--load` two processes multiply matrices meanwhile, at the priority of a training.  `ratio` is 50 ms over
the p95 of letters, so that 1 is the goal; `next_ratio` is 100 ms over the p95 of the next prompt.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from storage import policies, prompts
from storage.store import Store
from tests.benchmarks.common import parser, report, say, versions
from tests.workbench.ui_rank.terminal import KEYS, Terminal

RESPONSES = 4
WORDS = "the brightest window you have, and water it when the top of the soil is dry "
LOOK = 0.0005
BURN = """
import torch
from engine.protocol.processes import step_back
step_back()
torch.set_num_threads(1)
a = torch.randn(768, 768)
while True: a = (a @ a).tanh()
"""


def fill(path: Path, ranked: int, behind: int) -> None:
    """`ranked` prompts with responses of 4 kB first, then `behind` prompts with ten short ones each."""
    store = Store.open(path)
    policy = policies.ensure(store, "one")
    chats = [[{"role": "user", "content": f"Prompt number {n} of many."}] for n in range(ranked)]
    first = prompts.add_many(store, chats, source="benchmark")
    store.write(
        "INSERT INTO responses (response_id, prompt_id, policy_id, sample_index, text) "
        "SELECT 'r' || p.prompt_id || k, p.prompt_id, $policy, k, 'Answer ' || k || ' ' || "
        "repeat($words, 52) "
        "FROM (SELECT unnest($first) AS prompt_id) p, range($each) t(k)",
        {"policy": policy, "words": WORDS, "first": first, "each": RESPONSES},
    )
    store.write(
        "INSERT INTO prompts (prompt_id, text, messages, created_at) "
        "SELECT 'p' || lpad(n::VARCHAR, 16, '0'), 'Question ' || n, "
        '       \'[{"role": "user", "content": "Question \' || n || \'"}]\', now() AT TIME ZONE \'UTC\' '
        "FROM range($behind) t(n)",
        {"behind": behind},
    )
    store.write(
        "INSERT INTO responses (response_id, prompt_id, policy_id, sample_index, text) "
        "SELECT 'r' || lpad(n::VARCHAR, 15, '0') || k, 'p' || lpad(n::VARCHAR, 16, '0'), $policy, k, "
        "       'Answer ' || k || ' to ' || n FROM range($behind) t(n), range(10) u(k)",
        {"behind": behind, "policy": policy},
    )
    store.close()


def seconds_to(terminal: Terminal, keys: str, text: str) -> float:
    """From writing the keys until `text` has come out."""
    before = len(terminal.bytes)
    begun = time.perf_counter()
    terminal.send(keys)
    needle = text.encode()
    while needle not in terminal.bytes[before:]:
        if time.perf_counter() - begun > 30:
            raise SystemExit(f"“{text}” did not come: {terminal.text[-1500:]}")
        time.sleep(LOOK)
    return time.perf_counter() - begun


def figures(seconds: list[float]) -> dict[str, float]:
    """Median, p95 and the longest, in milliseconds."""
    ordered = sorted(1000 * value for value in seconds)
    return {
        "median": round(statistics.median(ordered), 1),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 1),
        "longest": round(ordered[-1], 1),
        "keys": len(ordered),
    }


def rank(terminal: Terminal, count: int) -> tuple[list[float], list[float]]:
    """Rank `count` prompts, one key after another; seconds of letters and of ⏎."""
    letters, nexts = [], []
    for number in range(count):
        for key, text in (("a", "B C D"), ("c", "B D"), ("b", "records it")):
            letters.append(seconds_to(terminal, key, text))
        nexts.append(seconds_to(terminal, "\r", f"Prompt number {number + 1} of"))
        time.sleep(0.3)  # reading
    return letters, nexts


def burst(terminal: Terminal, done: int, seconds: float) -> tuple[int, list[str], float]:
    """Type rankings at 30 keys a second, after `done` others.

    How many keys, the orders typed, and the seconds from the last key until all were recorded.
    """
    chooser, typed, keys = random.Random(0), [], 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        order = "".join(chooser.sample("abcd", 4))
        for key in order[:3] + "\r":
            terminal.send(key)
            keys += 1
            time.sleep(1 / 30)
        typed.append(order)
    begun = time.perf_counter()
    terminal.wait(lambda text: f"{done + len(typed)} done" in text, 120)
    return keys, typed, time.perf_counter() - begun


def recorded(path: Path, skip: int) -> list[str]:
    """The orders in the store after the first `skip` judgements, as letters of the screen."""
    store = Store.open(path)
    rows = store.rows(
        "SELECT string_agg(chr((97 + i.position)::INTEGER), '' ORDER BY i.rank) FROM judgements j "
        "JOIN judgement_items i USING (judgement_id) GROUP BY j.judgement_id, j.created_at, j.rowid "
        "ORDER BY j.created_at, j.rowid OFFSET $skip",
        {"skip": skip},
    )
    store.close()
    return [order for (order,) in rows]


def main() -> None:
    arguments = parser("ranking latency")
    arguments.add_argument("--count", type=int, default=40, help="prompts ranked one key after another")
    arguments.add_argument("--seconds", type=float, default=60.0, help="how long the burst goes on")
    arguments.add_argument("--behind", type=int, default=100_000, help="prompts behind those that are ranked")
    arguments.add_argument("--load", action="store_true", help="beside two processes that multiply matrices")
    options = arguments.parse_args()
    results = {}
    for columns, rows in ((80, 24), (160, 48)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "store.duckdb"
            say("filling the store")
            fill(path, options.count + 10 + int(8 * options.seconds), options.behind)
            burning = [
                subprocess.Popen([sys.executable, "-c", BURN], start_new_session=True)
                for _ in range(2 if options.load else 0)
            ]
            try:
                with Terminal("--db", str(path), home=Path(folder), columns=columns, rows=rows) as terminal:
                    terminal.wait_for("Prompt number 0", 60)
                    terminal.send(KEYS["f3"])
                    terminal.wait_for("0 done", 60)
                    time.sleep(2)
                    say(f"ranking at {columns} × {rows}")
                    letters, nexts = rank(terminal, options.count)
                    keys, typed, behind = burst(terminal, options.count, options.seconds)
                    terminal.quit()
            finally:
                for process in burning:
                    process.kill()
            found = recorded(path, options.count)
            results[f"{columns}x{rows}"] = {
                "letter": figures(letters),
                "next": figures(nexts),
                "burst": {
                    "keys": keys,
                    "rankings": len(typed),
                    "as_typed": found == typed,
                    "seconds_behind": round(behind, 1),
                },
            }
    worst = max(each["letter"]["p95"] for each in results.values())
    worst_next = max(each["next"]["p95"] for each in results.values())
    report(
        "ranking_latency",
        load=options.load,
        prompts=options.behind,
        results=results,
        ratio=round(50 / worst, 2),
        next_ratio=round(100 / worst_next, 2),
        versions=versions("textual", "duckdb"),
    )


if __name__ == "__main__":
    main()
