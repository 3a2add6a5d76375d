"""Keys typed at 30 a second in the real application: every one does what it says to what is on the screen."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from storage.store import Store
from tests.workbench.ui_rank.terminal import KEYS, Terminal
from tests.workbench.ui_rank.test_kill import fill

KEYS_A_SECOND = 30
Ranking = tuple[str, str]
"""What is typed, and the ranks of A, B, C that it says."""
TYPED: tuple[Ranking, ...] = (
    ("abc", "123"), ("cab", "231"), ("ba", "213"), ("b=ac", "112"), ("a=c", "121"), ("c=b=a", "111"),
    ("ac\x7f\x7fbc", "312"),
)  # fmt: skip
"""Whole rankings, with the last place implied, with ties, and with places taken back."""


def recorded(path: Path) -> list[str]:
    """The ranks of A, B, C of every judgement, the oldest first."""
    with Store.open(path) as store:
        rows = store.rows(
            "SELECT string_agg(i.rank::VARCHAR, '' ORDER BY i.position) FROM judgements j "
            "JOIN judgement_items i USING (judgement_id) GROUP BY j.judgement_id, j.created_at, j.rowid "
            "ORDER BY j.created_at, j.rowid"
        )
    return [ranks for (ranks,) in rows]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=pytest.mark.slow)])
def test_every_key_does_what_it_says(tmp_path: Path, seconds: int) -> None:
    path, chooser = tmp_path / "typed.duckdb", random.Random(seconds)
    keys, said = "", []
    while len(keys) < KEYS_A_SECOND * seconds:
        typed, ranks = chooser.choice(TYPED)
        keys += typed + "\r"
        said.append(ranks)
    fill(path, len(said) + 5)
    with Terminal("--db", str(path), home=tmp_path) as terminal:
        terminal.wait_for("Prompt number 0")
        terminal.send(KEYS["f3"])
        terminal.wait_for("0 done")
        for key in keys:
            terminal.send(key)
            time.sleep(1 / KEYS_A_SECOND)
        terminal.wait_for(f"{len(said):,} done", 300)
        assert terminal.quit() == 0
    assert recorded(path) == said
