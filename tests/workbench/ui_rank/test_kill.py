"""`kill -9` while somebody ranks: what the screen acknowledged is in the store afterwards."""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path

import pytest

from storage import prompts, responses
from storage.store import Store
from tests.workbench.ui_rank.terminal import KEYS, Terminal

PROMPTS = 100
KILLS = 4
ORDERS = ("abc", "acb", "bac", "bca", "cab", "cba")


def sentence(order: str) -> str:
    """What the screen says once the store has it."""
    return "✓ " + " > ".join(order.upper()) + " recorded"


def fill(path: Path) -> None:
    store = Store.open(path)
    with store.transaction():
        for number in range(PROMPTS):
            chat = [{"role": "user", "content": f"Prompt number {number}, please answer."}]
            prompt = prompts.add(store, chat, source="test")
            for policy in ("one", "two", "three"):
                responses.add(store, prompt, policy, f"The answer of {policy} to number {number}.")
    store.close()


def judged(path: Path) -> int:
    """Judgements in the store at `path`; opening it replays what the killed process had committed."""
    store = Store.open(path)
    count = prompts.overview(store).judgements
    store.close()
    return count


def rank_until_killed(terminal: Terminal, seed: int, done: int) -> int:
    """Rank without pause; killed at a random moment.  The number of judgements the screen acknowledged."""
    chooser = random.Random(seed)
    terminal.wait_for("Prompt number 0")
    terminal.send(KEYS["f3"])
    terminal.wait_for(f"{done} done")
    killer = threading.Timer(chooser.uniform(0.3, 2.5), terminal.kill)
    killer.start()
    acknowledged, acknowledged_before, order, sent = 0, 0, "", 0
    try:
        while killer.is_alive() and acknowledged < PROMPTS // KILLS:
            # Never the same order twice running: an old sentence must not be taken for a new one.
            others = [other for other in ORDERS if other != order]
            order, sent = chooser.choice(others), len(terminal.text)
            acknowledged_before = acknowledged
            terminal.send(order + "\r")
            terminal.wait_for(sentence(order), 10, after=sent)
            acknowledged += 1
            terminal.wait_for(f"{done + acknowledged} done", 10, after=sent)
    except (AssertionError, OSError):  # killed in the middle
        killer.join()
        if terminal.process.returncode != -signal.SIGKILL:
            raise
        # What came through after the last look counts as well: the person may have seen it.
        acknowledged = max(acknowledged, acknowledged_before + (sentence(order) in terminal.text[sent:]))
    killer.join()
    return acknowledged


@pytest.mark.timeout(180)
def test_no_acknowledged_judgement_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "ranked.duckdb"
    fill(path)
    total = 0
    for seed in range(KILLS):
        before = judged(path)
        with Terminal("--db", str(path), home=tmp_path) as terminal:
            acknowledged = rank_until_killed(terminal, seed, before)
        after = judged(path)
        assert after - before >= acknowledged
        assert after - before <= acknowledged + 1, "at most the one that was being written"
        total += acknowledged
    assert total > 0, "nothing was acknowledged before a kill: the test shows nothing"


@pytest.mark.timeout(60)
def test_the_application_ends_with_its_terminal(tmp_path: Path) -> None:
    path = tmp_path / "left.duckdb"
    fill(path)
    with Terminal("--db", str(path), home=tmp_path) as terminal:
        terminal.wait_for("Prompt number 0")
        terminal.hang_up()
        assert terminal.process.wait(20) == 129
    assert judged(path) == 0  # nobody holds the store any more
