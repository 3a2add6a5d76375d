"""Ctrl+z and back, in a real process: the screen stands again as it was."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil

from storage.store import Store
from tests.storage.builders import add_prompt, add_responses
from tests.workbench.ui_rank.terminal import KEYS, Terminal


def test_what_the_shell_wrote_over_is_drawn_again(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    with Store.open(path) as store:
        add_responses(store, add_prompt(store, "Why is the sky blue?"), "Air scatters.", "Nobody knows.")
    with Terminal("--db", str(path), home=tmp_path) as terminal:
        terminal.wait_for("1 prompt")
        terminal.send(KEYS["f3"])
        terminal.wait_for("Air scatters.")
        terminal.send("\x1a")
        process = psutil.Process(terminal.process.pid)
        end = time.monotonic() + 30
        while process.status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < end
            time.sleep(0.02)
        before = len(terminal.text)
        os.kill(terminal.process.pid, signal.SIGCONT)
        for text in ("Why is the sky blue?", "Air scatters.", "Nobody knows."):
            terminal.wait_for(text, after=before)
        terminal.send("ab\r")  # and keys mean what they did
        terminal.wait_for("recorded", after=before)
        assert terminal.quit() == 0
