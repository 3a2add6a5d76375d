"""Seconds from the start of the program to the first screen that shows the list of prompts.

The store holds 10,000 responses.  With `--peer PYTHON`, harlequin of that environment starts on an empty
database in turn with ours; `ratio` is the peer's median over ours.  Both run under tmux, 160 × 48.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.common import parser, report, say, summary, versions

PROMPTS, SAMPLES = 2_500, 4
MARK = "Prompt number 0 "
PEER_MARK = "Run Query"


def fill(path: Path) -> None:
    """Write a store of 2,500 prompts with 4 responses each."""
    from storage.store import Store

    store = Store.open(path)
    with store.transaction() as cursor:
        cursor.execute(
            "INSERT INTO prompts (prompt_id, text, messages, source) SELECT 'p' || printf('%016x', i), "
            "'Prompt number ' || i || ' asks for a short answer to a plain question.', "
            "json_array(json_object('role', 'user', 'content', 'Prompt number ' || i)), 'benchmark' "
            "FROM range(?) t(i)",
            [PROMPTS],
        )
        cursor.execute("INSERT INTO policies (policy_id, name) VALUES ('benchmark', 'benchmark')")
        cursor.execute(
            "INSERT INTO responses (response_id, prompt_id, policy_id, sample_index, text) "
            "SELECT 'r' || printf('%016x', i * ? + k), 'p' || printf('%016x', i), 'benchmark', k, "
            "repeat('A response of some length. ', 12) FROM range(?) t(i), range(?) s(k)",
            [SAMPLES, PROMPTS, SAMPLES],
        )
    store.close()


def tmux(*words: str) -> subprocess.CompletedProcess[str]:
    """A command to a tmux server of our own, which a standing session keeps alive between the runs."""
    return subprocess.run(
        ["tmux", "-L", f"first_frame_{os.getpid()}", *words], capture_output=True, text=True, check=False
    )


def first_frame(command: str, mark: str) -> float:
    """Start `command` in a new session; seconds until the screen shows `mark`."""
    started = time.perf_counter()
    tmux("new-session", "-d", "-s", "timed", "-x", "160", "-y", "48", command)
    try:
        while time.perf_counter() - started < 30:
            if mark in tmux("capture-pane", "-p", "-t", "timed").stdout:
                return time.perf_counter() - started
            time.sleep(0.01)
    finally:
        tmux("kill-session", "-t", "timed")
    raise SystemExit(f"{command!r} never showed {mark!r}.")


def main() -> None:
    """Measure, in turn with the peer if one is given."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--runs", type=int, default=9)
    options = arguments.parse_args()
    if shutil.which("tmux") is None:
        raise SystemExit("tmux is needed: it is the terminal that the program is started in.")
    ours: list[float] = []
    theirs: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store.duckdb"
        fill(store)
        command = shlex.join([str(Path(sys.executable).parent / "workbench"), "--db", str(store)])
        peer = options.peer and shlex.join([str(options.peer.parent / "harlequin"), ":memory:"])
        tmux("new-session", "-d", "-s", "standing")
        for run in range(options.runs + 1):  # the first of each is a warm-up
            ours.append(first_frame(command, MARK))
            if peer:
                theirs.append(first_frame(peer, PEER_MARK))
            say(f"run {run}: ours {ours[-1]:.3f} s" + (f", peer {theirs[-1]:.3f} s" if peer else ""))
        tmux("kill-server")
    figures: dict[str, object] = {"seconds": summary(ours[1:]), "responses": PROMPTS * SAMPLES}
    if theirs:
        figures["peer_seconds"] = summary(theirs[1:])
        figures["ratio"] = round(summary(theirs[1:])["median"] / summary(ours[1:])["median"], 3)
    report("first frame", **figures, versions=versions("textual", "duckdb"))


if __name__ == "__main__":
    main()
