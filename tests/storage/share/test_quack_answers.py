"""Questions of Quack's clients: they end with their askers, and the server reaches nothing but answers."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.console import Query
from storage.errors import ShareError
from storage.share import quack_answers, quack_messages
from storage.share.extensions import load_extensions
from storage.share.sharing import Share
from tests.storage.builders import path_of
from tests.storage.remote_query import query_remote
from tests.storage.share.test_answering import ENDLESS, VALUES

ROOT = Path(__file__).parents[3]
ASK = """
import sys
from pathlib import Path
from tests.storage.remote_query import query_remote
query_remote(Path(sys.argv[1]), sys.argv[2])
"""


def until(reached: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def inside(shared: Share, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the server's own database."""
    with shared._answers.cursor() as cursor:
        return cursor.execute(sql).fetchall()


def empty(shared: Share) -> bool:
    """Whether the server has no session and no answer."""
    sessions = inside(shared, "FROM quack_active_connections()")
    return not sessions and not inside(shared, "FROM duckdb_tables()")


def test_the_question_of_a_killed_client_ends(shared: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Query] = []
    running = Query._running

    def seen(self: Query) -> Any:
        asked.append(self)
        return running(self)

    monkeypatch.setattr(Query, "_running", seen)
    command = [sys.executable, "-c", ASK, str(path_of(shared)), ENDLESS]
    with subprocess.Popen(command, cwd=ROOT) as asker:
        until(lambda: bool(asked), "nothing is asked")
        assert asker.poll() is None
        asker.send_signal(signal.SIGKILL)
    until(asked[0]._ended.is_set, "the question runs on")
    assert asked[0].cancelled
    until(lambda: empty(shared), "its session stays")
    assert query_remote(path_of(shared), "SELECT text FROM prompts") == [("shared",)]


def test_values_come_with_the_types_that_they_have_in_the_store(shared: Share) -> None:
    sql = f"SELECT {VALUES}"
    assert query_remote(path_of(shared), sql) == shared.store.rows(sql)


def test_an_answer_is_forgotten_when_its_session_ends(shared: Share) -> None:
    rows = query_remote(path_of(shared), "SELECT range AS n, range AS n FROM range(40000)")
    assert rows == [(n, n) for n in range(40_000)]
    until(lambda: empty(shared), "the answer stays")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("FROM nowhere", "nowhere does not exist"),
        ("SELECT CASE WHEN range < 200000 THEN 1 ELSE error('far '' in') END FROM range(300000)", "far ' in"),
        ("SELECT 1 +", "only SELECT"),
    ],
    ids=["at once", "late", "no SQL"],
)
def test_what_is_wrong_is_told(shared: Share, sql: str, said: str) -> None:
    with pytest.raises(ShareError, match=said):
        query_remote(path_of(shared), sql)
    until(lambda: empty(shared), "something stays")


def test_who_goes_without_a_word_is_not_waited_for(shared: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    with duckdb.connect(":memory:") as client:
        load_extensions(client)
        question = f"FROM quack_query('{shared.address}', 'FROM range(1000000)', token = '{shared.token}')"
        assert client.execute(question).fetchone() == (0,)
        assert not empty(shared)
        assert shared._answers.silent() == []
        monkeypatch.setattr(quack_answers, "SILENT_SECONDS", -1.0)
        (session,) = shared._answers.silent()
        door = shared._door
        asyncio.run_coroutine_threadsafe(door._dismiss(session), door._loop).result(60)
        assert empty(shared)


def test_the_server_reaches_no_table_of_the_store_and_no_file(shared: Share) -> None:
    assert inside(shared, "FROM duckdb_tables()") == []
    for sql in ("FROM read_text('/etc/passwd')", "SET GLOBAL threads = 3", "ATTACH '/tmp/x.duckdb'"):
        with pytest.raises(duckdb.Error, match=r"disabled|locked"):
            inside(shared, sql)
    assert not shared._answers._allowed("nobody", "FROM answer")


@given(st.text(max_size=300), st.binary(max_size=40))
def test_a_text_is_put_in_the_place_of_another(sql: str, noise: bytes) -> None:
    head = b"\x01\x00\x03\x02\x00\x04ab\xc3\xa9\x03\x00\x85\x01\xff\xff"
    asked = quack_messages.QuackMessage(quack_messages.PREPARE, "abé", sql, head)
    assert quack_messages.read(asked.asking(sql)) == asked
    assert quack_messages.read(head + noise + b"more") is None
    quack_messages.read(noise)  # never raises
    found = quack_messages.read(quack_messages.farewell(sql))
    assert found is not None
    assert (found.kind, found.session) == (quack_messages.DISCONNECT, sql)
