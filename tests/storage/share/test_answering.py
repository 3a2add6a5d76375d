"""Questions of other processes over the socket: what is answered, and what ends with its asker."""

from __future__ import annotations

import json
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.console import Query, QueryCancelledError
from storage.errors import LockedError, ShareError
from storage.share import answering
from storage.share.asking import GoneError, RemoteAnswer, shared_by, token_path_of
from storage.share.remote import RemoteStore
from storage.share.sharing import Share, share
from storage.sql_guard import RefusedError
from storage.store import Store
from tests.storage.builders import NO_QUESTIONS, path_of

ROOT = Path(__file__).parents[3]
ENDLESS = "SELECT count(*) FROM range(100000) a, range(100000) b, range(100000) c"
ASK = """
import sys
from pathlib import Path
from storage.errors import LockedError
from storage.share.remote import RemoteStore
with RemoteStore(Path(sys.argv[1]), LockedError("held")) as store:
    print("asking", flush=True)
    store.rows(sys.argv[2])
"""


@pytest.fixture
def remote(shared: Share) -> Iterator[RemoteStore]:
    with RemoteStore(path_of(shared), LockedError("held")) as store:
        yield store


def wait_for(shared: Share, questions_left: int) -> None:
    until = time.monotonic() + 60
    while shared._answering.running != questions_left:
        assert time.monotonic() < until, f"{shared._answering.running} questions run"
        time.sleep(0.01)


def test_the_question_of_a_killed_process_ends(shared: Share) -> None:
    command = [sys.executable, "-c", ASK, str(path_of(shared)), ENDLESS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as asker:
        assert asker.stdout is not None
        assert asker.stdout.readline() == b"asking\n"
        wait_for(shared, 1)
        asker.send_signal(signal.SIGKILL)
    wait_for(shared, 0)
    assert shared.store.rows("SELECT text FROM prompts") == [("shared",)]


def test_a_question_that_is_cancelled_here_ends_there(shared: Share, remote: RemoteStore) -> None:
    query = Query(remote, ENDLESS)
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            with query.stream(unlocked=False) as batches:
                list(batches)
        except QueryCancelledError as error:
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_for(shared, 1)  # the holder may have the question before the asker knows that it is asked
    query.cancel()
    asking.join(60)
    assert failed
    wait_for(shared, 0)


def test_a_reader_that_looks_at_the_first_rows_alone_computes_no_others(
    shared: Share, remote: RemoteStore
) -> None:
    with Query(remote, "SELECT * FROM range(100000000000)").stream(unlocked=False) as batches:
        assert next(iter(batches)).num_rows > 0
    wait_for(shared, 0)
    cursor = remote.cursor().execute("SELECT * FROM range(100000000000)")
    assert cursor.fetchmany(3) == [(0,), (1,), (2,)]
    assert cursor.fetchone() == (3,)
    assert remote.rows("SELECT 1") == [(1,)]
    wait_for(shared, 0)


def test_closing_the_share_ends_what_runs(shared: Share, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ASK, str(path_of(shared)), ENDLESS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as asker:
        assert asker.stdout is not None
        assert asker.stdout.readline() == b"asking\n"
        wait_for(shared, 1)
        shared._answering.close()
        _, errors = asker.communicate(timeout=60)
    assert shared._answering.running == 0
    assert b"has gone" in errors or b"does not answer" in errors


def test_closing_the_share_ends_what_nobody_watches(
    shared: Share, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "_has_gone", lambda connection: False)
    test_closing_the_share_ends_what_runs(shared, tmp_path)


class Waiting:
    """A query that runs until it is cancelled."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def cancel(self) -> None:
        self.ended.set()


def test_a_connection_that_has_the_number_of_another_is_watched_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An asker goes in the moment in which the answer ends; the next connection has the same number."""
    watch = answering.Watch()
    unregister = selectors._PollLikeSelector.unregister  # type: ignore[attr-defined]
    taken, given = threading.Event(), threading.Event()

    def slowly(self: Any, connection: socket.socket) -> Any:
        key = selectors._BaseSelectorImpl.unregister(self, connection)  # type: ignore[attr-defined]
        taken.set()
        given.wait(0.3)
        with suppress(OSError):
            self._selector.unregister(key.fd)
        return key

    first, asker = socket.socketpair()
    with watch.over(first, Waiting()):  # type: ignore[arg-type]
        monkeypatch.setattr(selectors._PollLikeSelector, "unregister", slowly)  # type: ignore[attr-defined]
        asker.close()
        assert taken.wait(10)
    number = first.fileno()
    first.close()
    second, other = socket.socketpair()
    query = Waiting()
    assert number in (second.fileno(), other.fileno())
    if other.fileno() == number:
        second, other = other, second
    with watch.over(second, query):  # type: ignore[arg-type]
        given.set()
        time.sleep(0.5)
        assert not query.ended.is_set()
        monkeypatch.setattr(selectors._PollLikeSelector, "unregister", unregister)  # type: ignore[attr-defined]
        other.close()
        assert query.ended.wait(10)
    second.close()
    watch.close()


VALUES = (
    "170141183460469231731687303715884105727::HUGEINT AS a, sum(1) AS a, [1, NULL] AS l, "
    "{'x': 1, 'y': 'é'} AS s, map {'k': 1.5} AS m, "
    "uuid '00000000-0000-0000-0000-000000000001' AS u, '{\"a\": 1}'::JSON AS j, "
    "'10110'::BIT AS b, timetz '10:00:00+02' AS z, timestamptz '2026-01-02 03:04:05+00' AS t, "
    "interval 3 day AS i, 1.25::DECIMAL(9, 3) AS d, 'x'::BLOB AS bytes, 'nan'::DOUBLE::VARCHAR AS n, "
    "'y'::ENUM('x', 'y') AS e, [5::HUGEINT] AS lh, NULL AS nothing, 'a b' AS \"a \"\"b\"\"\""
)


def test_values_have_the_types_that_they_have_in_the_holder(shared: Share, remote: RemoteStore) -> None:
    sql = f"SELECT {VALUES}"
    assert remote.rows(sql) == shared.store.rows(sql)
    names = [column[0] for column in remote.cursor().description]
    assert names == [column[0] for column in shared.store.cursor().execute(sql).description]


def test_what_is_wrong_is_told_in_the_words_of_the_holder(remote: RemoteStore) -> None:
    with pytest.raises(ShareError, match="nowhere does not exist"):
        remote.rows("SELECT * FROM nowhere")
    with pytest.raises(RefusedError, match="DELETE writes"):
        remote.rows("DELETE FROM prompts")
    with pytest.raises(RefusedError, match="is a file"):
        remote.rows("SELECT * FROM '/etc/passwd'")
    late = "SELECT CASE WHEN range < 200000 THEN 1 ELSE error('far in') END AS x FROM range(300000)"
    with pytest.raises(ShareError, match="far in"):
        remote.rows(late)
    assert remote.rows("SELECT text FROM prompts") == [("shared",)]


REFUSED = {
    **NO_QUESTIONS,
    "token": b'{"token": "x", "ask": "SELECT 1"}\n',
    "long": b"x" * 2**21 + b"\n",
}


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED)
def test_what_is_no_question_is_refused(shared: Share, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(shared._answering.path))
        try:
            connection.sendall(line)
            answer = connection.recv(65536)
        except OSError:  # it has been let go before everything was sent
            answer = b"E"
    assert answer[:1] == b"E"


def test_the_token_is_asked_for_and_the_socket_is_for_its_owner_alone(shared: Share) -> None:
    token_file = token_path_of(path_of(shared))
    told = json.loads(token_file.read_text())
    token_file.write_text(json.dumps({**told, "token": "x" * 40}))
    with pytest.raises(RefusedError, match="token"):
        RemoteStore(path_of(shared), LockedError("held"))
    assert Path(told["socket"]).stat().st_mode & 0o777 == 0o600
    assert Path(told["socket"]).parent.stat().st_mode & 0o777 == 0o700


def test_a_question_that_never_comes_is_not_waited_for(
    shared: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "ASKING_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(shared._answering.path))
        connection.sendall(b'{"token": ')
        assert connection.recv(1) == b""
    wait_for(shared, 0)


def test_nothing_is_left_and_nobody_answers_when_sharing_ends(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        serving = share(store)
        told = shared_by(tmp_path / "a.duckdb")
        serving.close()
        assert not Path(told["socket"]).parent.exists()
        with pytest.raises(GoneError):
            shared_by(tmp_path / "a.duckdb")
        (tmp_path / "a.duckdb.share").write_text(json.dumps(told))
        with pytest.raises(GoneError, match="does not answer"):
            RemoteStore(tmp_path / "a.duckdb", LockedError("held"))


def test_a_file_is_written_from_what_is_answered(remote: RemoteStore, tmp_path: Path) -> None:
    assert Query(remote, "SELECT range AS n FROM range(50000);").export(tmp_path / "n.parquet") == 50_000
    rows: Any = duckdb.sql(f"SELECT count(*), max(n) FROM '{tmp_path}/n.parquet'").fetchone()
    assert rows == (50_000, 49_999)


@pytest.mark.parametrize("moment", ["before it begins", "while it is sent", "between two statements"])
def test_a_query_is_cancelled_at_any_moment(
    shared: Share, remote: RemoteStore, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Esc once: in the moment between two statements, DuckDB forgets an interruption."""
    store = shared.store if moment == "between two statements" else remote
    query = Query(store, f"SELECT 1; {ENDLESS}" if store is shared.store else ENDLESS)
    if moment == "before it begins":
        query.cancel()
    elif moment == "while it is sent":
        sending = RemoteAnswer.__init__

        def sent(self: RemoteAnswer, *arguments: Any, **question: Any) -> None:
            query.cancel()
            sending(self, *arguments, **question)

        monkeypatch.setattr(RemoteAnswer, "__init__", sent)
    else:
        reading = query._all_but_last_run

        def read(**how: bool) -> Any:
            statements = reading(**how)
            query.cancel()
            return statements

        monkeypatch.setattr(query, "_all_but_last_run", read)
    with pytest.raises(QueryCancelledError), query.stream(unlocked=False) as batches:
        list(batches)
    wait_for(shared, 0)


def test_many_ask_at_once_and_few_threads_stay(shared: Share, remote: RemoteStore) -> None:
    with ThreadPoolExecutor(30) as people:
        found = list(people.map(lambda n: remote.rows(f"SELECT {n}, count(*) FROM prompts"), range(120)))
    assert found == [[(n, 1)] for n in range(120)]
    wait_for(shared, 0)
    until = time.monotonic() + 60
    while len(shared._answering._threads) > answering.READY:
        assert time.monotonic() < until
        time.sleep(0.01)
