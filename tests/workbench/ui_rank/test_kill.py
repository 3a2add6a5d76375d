"""`kill -9` while somebody ranks: what the screen acknowledged is in the store afterwards."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path

import pytest

from storage import policies, prompts
from storage.store import Store
from tests.workbench.ui_rank.terminal import KEYS, Terminal
from workbench.services.ranking.judging import Judging

PROMPTS = 100
KILLS = 2
ORDERS = ("abc", "acb", "bac", "bca", "cab", "cba")


def sentence(order: str) -> str:
    """What the screen says once the store has it."""
    return "✓ " + " > ".join(order.upper()) + " recorded"


def fill(path: Path, count: int = PROMPTS) -> None:
    """`count` prompts, three responses each; thousands, one by one, are too many for a transaction."""
    store = Store.open(path)
    chats = [
        [{"role": "user", "content": f"Prompt number {n}, please answer."}]
        for n in range(min(count, PROMPTS))
    ]
    with store.transaction():
        prompts.add_many(store, chats, source="test")
        store.write(
            "INSERT INTO prompts (prompt_id, text, messages, source, created_at) "
            "SELECT 'p' || lpad(n::VARCHAR, 16, '0'), 'Prompt number ' || n, "
            '  \'[{"role":"user","content":"Prompt number \' || n || \'"}]\', \'test\', '
            "  now() AT TIME ZONE 'UTC' + INTERVAL 1 second FROM range($first, $count) t(n)",
            {"first": len(chats), "count": count},
        )
        for policy in ("one", "two", "three"):
            store.write(
                "INSERT INTO responses (response_id, prompt_id, policy_id, text) "
                "SELECT 'r' || $name || prompt_id, prompt_id, $policy, "
                "  'The answer of ' || $name || ' to ' || text FROM prompts",
                {"name": policy, "policy": policies.ensure(store, policy)},
            )
    store.close()


def judged(path: Path) -> int:
    """Judgements in the store at `path`; opening it replays what the killed process had committed."""
    store = Store.open(path)
    count = prompts.overview(store).judgements
    store.close()
    return count


def begun(path: Path) -> str:
    """Letters of the draft in the store at `path`, as typed."""
    with Store.open(path) as store:
        item = Judging(store).resume("ada")
    return "" if item is None else item.draft.order().replace(" > ", "").lower()


def rank_until_killed(terminal: Terminal, seed: int, done: int, most: int) -> tuple[int, str]:
    """Rank without pause; killed at a random moment.

    The number of judgements the screen acknowledged, and the order that was typed last.
    """
    chooser = random.Random(seed)
    terminal.wait_for("Prompt number 0")
    terminal.send(KEYS["f3"])
    terminal.wait_for(f"{done:,} done")
    terminal.send("\x7f" * 3)  # what the killed one had begun
    killer = threading.Timer(chooser.uniform(0.3, 2.5), terminal.kill)
    killer.start()
    acknowledged, acknowledged_before, order, sent = 0, 0, "", 0
    try:
        while killer.is_alive() and acknowledged < most:
            # Never the same order twice running: an old sentence must not be taken for a new one.
            others = [other for other in ORDERS if other != order]
            order, sent = chooser.choice(others), len(terminal.text)
            acknowledged_before = acknowledged
            terminal.send(order + "\r")
            terminal.wait_for(sentence(order), 10, after=sent)
            acknowledged += 1
            terminal.wait_for(f"{done + acknowledged:,} done", 10, after=sent)
    except (AssertionError, OSError):  # killed in the middle
        killer.join()
        if terminal.process.returncode != -signal.SIGKILL:
            raise
        # What came through after the last look counts as well: the person may have seen it.
        acknowledged = max(acknowledged, acknowledged_before + (sentence(order) in terminal.text[sent:]))
    killer.join()
    return acknowledged, order


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [KILLS, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.long])])
def test_no_acknowledged_judgement_is_lost(tmp_path: Path, kills: int) -> None:
    """None lost, none doubled; and a draft that is there again is what was being typed, or its beginning."""
    path = tmp_path / "ranked.duckdb"
    fill(path, 25 * kills)
    total = 0
    for seed in range(kills):
        before = judged(path)
        with Terminal("--db", str(path), home=tmp_path) as terminal:
            acknowledged, typed = rank_until_killed(terminal, seed, before, 25)
        after = judged(path)
        assert after - before >= acknowledged
        assert after - before <= acknowledged + 1, "at most the one that was being written"
        assert typed.startswith(begun(path))
        total += acknowledged
    assert total > 0, "nothing was acknowledged before a kill: the test shows nothing"
    with Store.open(path) as store:
        ((rows, prompts_judged),) = store.rows("SELECT count(*), count(DISTINCT prompt_id) FROM judgements")
    assert rows == prompts_judged, "no prompt was judged twice"


@pytest.mark.timeout(90)
def test_what_was_begun_survives(tmp_path: Path) -> None:
    """The draft is there again, and no other prompt has come in between."""
    path = tmp_path / "begun.duckdb"
    fill(path)
    with Terminal("--db", str(path), home=tmp_path) as terminal:
        terminal.wait_for("Prompt number 0")
        terminal.send(KEYS["f3"] + "b!nwhy\r")
        terminal.wait_for("note: why")
        time.sleep(0.5)  # the store has it some milliseconds after the screen
        terminal.kill()
    assert judged(path) == 0
    with Terminal("--db", str(path), home=tmp_path) as terminal:
        terminal.wait_for("Prompt number 0")
        terminal.send(KEYS["f3"])
        terminal.wait_for("note: why")
        terminal.wait_for("left: A C")
        terminal.send("a\r")
        terminal.wait_for("1 done")
    assert judged(path) == 1


@pytest.mark.timeout(60)
def test_the_application_ends_with_its_terminal(tmp_path: Path) -> None:
    path = tmp_path / "left.duckdb"
    fill(path)
    with Terminal("--db", str(path), home=tmp_path) as terminal:
        terminal.wait_for("Prompt number 0")
        terminal.hang_up()
        assert terminal.process.wait(20) == 129
    assert judged(path) == 0  # nobody holds the store any more
