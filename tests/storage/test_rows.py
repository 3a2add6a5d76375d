"""Rows for one statement: what goes in comes out, few rows and many, and the lock is had in turn."""

from __future__ import annotations

import math
import threading
import time
from datetime import datetime
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from storage.file.turns import Turns
from storage.rows import with_rows
from storage.store import MANY, Store

texts = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=20)
numbers = st.integers(min_value=-(2**63), max_value=2**63 - 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
times = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1))
rows = st.tuples(*(st.none() | values for values in (texts, numbers, finite, st.booleans(), times)))
COLUMNS = ("a", "n", "x", "b", "order")


@cache
def anywhere() -> Store:
    """One for all examples, which only read."""
    return Store.open(":memory:")


@given(st.lists(rows, min_size=1, max_size=5))
def test_rows_come_out_as_they_went_in(given_rows: list[tuple[Any, ...]]) -> None:
    asked = with_rows('SELECT a, n, x, b, "order" FROM arrived', COLUMNS, given_rows)
    assert asked is not None
    assert anywhere().rows(*asked) == given_rows


def test_what_json_cannot_hold_is_left_to_arrow(store: Store) -> None:
    for value in (math.nan, -math.inf, b"bytes"):
        assert with_rows("SELECT * FROM arrived", ("x",), [(value,)]) is None
    assert with_rows("SELECT * FROM arrived", ("x",), [(1,), ("1",)]) is None
    store.write("CREATE TABLE t (x DOUBLE)")
    store.write_many("INSERT INTO t SELECT x FROM arrived", ("x",), [(math.inf,)])
    assert store.rows("SELECT x FROM t") == [(math.inf,)]


def test_few_rows_and_many_are_the_same(store: Store) -> None:
    store.write("CREATE TABLE t (n BIGINT, name VARCHAR, said TIMESTAMP)")
    some = [(n, f"row {n}", datetime(2026, 1, 1, 0, n % 60, 0, n)) for n in range(MANY)]
    for count in (MANY, MANY - 1):
        store.write("DELETE FROM t")
        store.write_many(
            "INSERT INTO t SELECT n, name, said FROM arrived", ("n", "name", "said"), some[:count]
        )
        assert store.rows("SELECT * FROM t ORDER BY n") == some[:count]
    store.write_many("INSERT INTO t SELECT n, name, said FROM arrived", ("n", "name", "said"), [])


def test_who_waits_comes_before_who_asks_again() -> None:
    turns, order = Turns(), []

    def person() -> None:
        with turns:
            order.append("person")

    waiting = threading.Thread(target=person)
    with turns, turns:  # who has it may take it again
        waiting.start()
        while not turns._waiting:
            time.sleep(0.001)
    for _ in range(3):  # without a pause, as one that stores slice after slice
        with turns:
            order.append("ingest")
    waiting.join(timeout=10)
    assert order == ["person", "ingest", "ingest", "ingest"]


def test_one_thread_at_a_time_and_nobody_is_forgotten() -> None:
    turns, inside, most = Turns(), [0], [0]

    def work() -> None:
        for _ in range(50):
            with turns:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    assert most == [1]
