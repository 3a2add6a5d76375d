"""Several hundred hostile texts through the session of the screen, the command line and the share.

Files with a canary in them must not be read, a folder must stay empty, a listening socket must hear nothing,
and the store must stay as it is; through both walls together, and through each of them alone.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage import sql_guard
from storage.console import Query, QueryError
from storage.errors import LockedError, StoreError
from storage.share.asking import token_path_of
from storage.share.extensions import load_extensions
from storage.share.remote import RemoteStore
from storage.share.sharing import share
from storage.sql_guard import RefusedError, check_locked
from storage.store import Store
from tests.storage.builders import add_prompt
from tests.storage.hostile_sql import CANARY, POINTERS, Outside, table_functions
from tests.storage.remote_query import query_remote
from workbench import cli

# Table functions of DuckDB that look at the store, or at nothing.
HARMLESS = {
    "generate_series",
    "json_each",
    "json_tree",
    "pragma_database_size",
    "pragma_show",
    "pragma_storage_info",
    "pragma_table_info",
    "pragma_version",
    "range",
    "repeat",
    "repeat_row",
    "summary",
    "unnest",
}


@pytest.fixture
def ear() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        yield listening


@pytest.fixture
def outside(tmp_path: Path, ear: socket.socket) -> Outside:
    return Outside.make(tmp_path / "outside", ear.getsockname()[1])


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "study" / "a.duckdb") as store:
        add_prompt(store, "x")
        yield store


def reached(outside: Outside, ear: socket.socket) -> list[str]:
    """What has happened outside."""
    found = [f"wrote {path}" for path in outside.out.rglob("*")]
    try:
        connection, _ = ear.accept()
        connection.close()
        found.append("called")
    except BlockingIOError:
        pass
    return found


def asked(store: Store, sql: str) -> str:
    """What the session of screen and command line gives, or its error."""
    try:
        with Query(store, sql).stream(unlocked=False) as batches:
            return repr([batch.to_pylist() for batch in batches])
    except (RefusedError, QueryError) as error:
        return f"refused: {error}"


def misbehaved(
    texts: list[str], ask: Callable[[str], str], outside: Outside, ear: socket.socket
) -> list[str]:
    """Texts that were answered with the canary, wrote something or called."""
    bad = []
    for text in texts:
        answer = ask(text)
        happened = reached(outside, ear)
        if CANARY in answer or happened:
            bad.append(f"{text}: {answer[:200]} {happened}")
    return bad


def test_nothing_leaves_the_session(filled: Store, outside: Outside, ear: socket.socket) -> None:
    texts = outside.texts(table_functions(filled.cursor()))
    assert len(texts) > 600
    before = (
        filled.rows("SELECT * FROM prompts"),
        filled.rows("SELECT * FROM duckdb_views() WHERE NOT internal"),
    )
    answers: list[str] = []

    def ask(text: str) -> str:
        answers.append(asked(filled, text))
        return answers[-1]

    assert misbehaved(texts, ask, outside, ear) == []
    harmless = tuple(f"{name}(" for name in HARMLESS)
    let_through = [
        text
        for text, answer in zip(texts, answers, strict=True)
        if not answer.startswith("refused")
        and not any(call in text.lower().replace('"', "") for call in harmless)
    ]
    assert let_through == []
    after = (
        filled.rows("SELECT * FROM prompts"),
        filled.rows("SELECT * FROM duckdb_views() WHERE NOT internal"),
    )
    assert after == before


def test_duckdb_s_own_walls_hold_alone(
    filled: Store, outside: Outside, ear: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for what ends the process: addresses in memory, and a log that may not be written."""
    monkeypatch.setattr(sql_guard, "check_locked", lambda *_: None)
    names = [name for name in table_functions(filled.cursor()) if name not in POINTERS]
    aborting = (*POINTERS, "enable_logging")
    texts = [text for text in outside.texts(names) if not any(name in text for name in aborting)]
    assert misbehaved(texts, lambda text: asked(filled, text), outside, ear) == []


def test_the_look_at_the_text_holds_alone(outside: Outside, ear: socket.socket) -> None:
    """In a database that could reach everything: whatever passes is run there."""
    with duckdb.connect(":memory:") as connection:
        connection.execute("CREATE TABLE prompts (prompt_id VARCHAR, text VARCHAR, messages VARCHAR)")
        texts = outside.texts(table_functions(connection))

        def ask(text: str) -> str:
            try:
                check_locked(connection, text)
            except StoreError as refused:
                return str(refused)
            try:
                return repr(connection.execute(text).fetchall())
            except duckdb.Error as error:
                return str(error)

        assert misbehaved([t for t in texts if "DATABASE" not in t.upper()], ask, outside, ear) == []


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_nothing_leaves_the_share(filled: Store, outside: Outside, ear: socket.socket, every: int) -> None:
    assert filled.path is not None
    serving = share(filled)
    texts = outside.texts(table_functions(filled.cursor()))[::every]
    with duckdb.connect(":memory:") as client:
        load_extensions(client)

        def ask(text: str) -> str:
            try:
                rows = client.execute(
                    "FROM quack_query($address, $sql, token = $token)",
                    {"address": serving.address, "sql": text, "token": serving.token},
                )
                return repr(rows.fetchall())
            except duckdb.Error as error:
                return str(error)

        try:
            assert "x" in ask("SELECT text FROM prompts")
            assert misbehaved(texts, ask, outside, ear) == []
        finally:
            serving.close()
    assert filled.rows("SELECT count(*) FROM prompts") == [(1,)]
    assert not token_path_of(filled.path).exists()


@pytest.mark.parametrize("plain", [True, False], ids=["rows", "arrow"])
def test_nothing_leaves_the_socket_of_other_processes(
    filled: Store, outside: Outside, ear: socket.socket, plain: bool
) -> None:
    """Where commands, notebooks and merging ask."""
    assert filled.path is not None
    texts = outside.texts(table_functions(filled.cursor()))[:: 2 if plain else 7]
    serving = share(filled)

    def ask(text: str) -> str:
        cursor = remote.cursor() if plain else remote.new_cursor()
        try:
            return repr(cursor.execute(text).fetchall())
        except (StoreError, duckdb.Error, OSError) as error:
            return str(error)
        finally:
            if not plain:
                cursor.close()

    try:
        with RemoteStore(filled.path, LockedError("held")) as remote:
            assert misbehaved(texts, ask, outside, ear) == []
            assert remote.rows("SELECT text FROM prompts") == [("x",)]
    finally:
        serving.close()


def on_the_command_line(path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    def ask(text: str) -> str:
        code = cli.run(["--db", str(path), "sql", "--", text])
        shown = capsys.readouterr()
        return f"{code} {shown.out} {shown.err}"

    return ask


@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.slow)])
def test_nothing_leaves_the_command_line(
    tmp_path: Path, outside: Outside, ear: socket.socket, capsys: pytest.CaptureFixture[str], every: int
) -> None:
    path = tmp_path / "a.duckdb"
    with Store.open(path) as store:
        add_prompt(store, "x")
        texts = outside.texts(table_functions(store.cursor()))[::every]
    ask = on_the_command_line(path, capsys)
    assert misbehaved(texts, ask, outside, ear) == []
    assert ask("SELECT count(*) || ' prompt' AS n FROM prompts").startswith("0 n")
    assert "1 prompt" in ask("SELECT count(*) || ' prompt' AS n FROM prompts")


def test_a_view_that_reads_a_file_shows_nothing(filled: Store, outside: Outside) -> None:
    """A store that somebody else has made may hold one."""
    sql = f"CREATE VIEW innocent AS FROM read_csv('{outside.folder}/secret.csv')"
    filled.cursor().execute(sql)
    filled.cursor().execute(
        f"CREATE MACRO guileless() AS TABLE FROM read_text('{outside.folder}/secret.txt')"
    )
    for text in ("FROM innocent", "SUMMARIZE innocent", "FROM guileless()"):
        answer = asked(filled, text)
        assert answer.startswith("refused")
        assert CANARY not in answer


def test_token_traces_are_read_behind_the_walls(filled: Store) -> None:
    assert filled.runs_root is not None
    traces = filled.runs_root / "ppo-1" / "traces"
    traces.mkdir(parents=True)
    columns = "5 AS step, 'p1' AS prompt_id, 0 AS sample_index, 1 AS position, 17 AS token_id, ' hi' AS token"
    filled.cursor().execute(f"COPY (SELECT {columns}) TO '{traces / 'step-000005.parquet'}'")
    assert "' hi'" in asked(filled, "SELECT run_id, token FROM token_traces")
    later = traces / "step-000006.parquet"
    filled.cursor().execute(f"COPY (SELECT {columns}) TO '{later}'")  # jobs hand over after the walls stand
    assert asked(filled, "SELECT count(*) AS n FROM token_traces") == "[[{'n': 2}]]"


def test_token_traces_are_read_from_folders_with_odd_names(tmp_path: Path) -> None:
    with Store.open(tmp_path / "it's [1]*" / "a [2].duckdb") as store:
        assert asked(store, "SELECT count(*) AS n FROM token_traces") == "[[{'n': 0}]]"


def test_what_reads_is_still_read(filled: Store) -> None:
    for text in (
        "FROM prompts",
        "FROM main.prompts",
        "FROM a.prompts",
        "FROM a.main.prompts",
        "FROM information_schema.tables",
        "SUMMARIZE prompts",
        "SHOW ALL TABLES",
        "SHOW TABLES FROM main",
        "PIVOT prompts ON source USING count(*)",
        "PIVOT prompts ON source IN ('a', 'b/c') USING count(*)",
        "FROM prompts, LATERAL (SELECT prompts.text || '/x.csv')",
        "SELECT 'http://x/y.csv' AS address, \"text\" FROM prompts",
        "SELECT 1; SELECT 2",
    ):
        assert not asked(filled, text).startswith("refused"), text


@pytest.mark.parametrize("source", ["read_csv('/etc/passwd')", "'/etc/passwd'"])
def test_a_pivot_behind_other_letters_is_looked_at(filled: Store, source: str) -> None:
    """DuckDB counts bytes where words begin, and Python letters."""
    with pytest.raises(RefusedError):
        check_locked(filled.cursor(), f"/* {'é' * 30} */ PIVOT (FROM {source}) ON column0 USING count(*)")


def test_several_statements_are_counted(filled: Store) -> None:
    for text, statements in (("SELECT 1; SELECT 2", 2), ("PIVOT prompts ON source USING count(*)", 1)):
        with Query(filled, text).stream(unlocked=False) as batches:
            assert batches.statements == statements


def test_a_locked_store_exports_where_people_want_it(filled: Store, tmp_path: Path) -> None:
    from storage.interchange.exporting import export

    assert asked(filled, "SELECT 1 AS n") == "[[{'n': 1}]]"
    for name in ("a.csv", "a.parquet", "a.jsonl"):
        assert export(filled, "prompts", tmp_path / name) == 1
        assert Query(filled, "SELECT text FROM prompts").export(tmp_path / f"query-{name}") == 1
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert export(filled, "pairs", tmp_path / "pairs.csv") == 0
    assert filled.outbox is not None
    assert os.listdir(filled.outbox) == []


def test_an_unlocked_session_of_a_locked_store_is_told_where_files_are_read(
    filled: Store, outside: Outside
) -> None:
    assert asked(filled, "SELECT 1 AS n") == "[[{'n': 1}]]"
    query = Query(filled, f"FROM '{outside.folder}/secret.csv'")
    with pytest.raises(QueryError, match="workbench sql --unlock"), query.stream(unlocked=True):
        pass


def test_a_run_directory_of_a_foreign_store_is_known_by_its_events(filled: Store, outside: Outside) -> None:
    from storage.file import walls

    named: list[Any] = [str(outside.folder), "/", "/etc", str(filled.runs_root)]
    assert walls.strayed(named, filled.runs_root) == []
    (outside.folder / walls.EVENTS).touch()
    assert walls.strayed(named, filled.runs_root) == [outside.folder]


def test_a_store_is_shared_after_its_walls_stand(filled: Store) -> None:
    filled.lock_down(settings=True)
    serving = share(filled)
    loaded = "SELECT function_name FROM duckdb_functions() WHERE function_name LIKE 'quack%'"
    try:
        assert filled.path is not None
        assert query_remote(filled.path, "SELECT text FROM prompts") == [("x",)]
        assert filled.rows(loaded) == []  # the server is in a database of its own
    finally:
        serving.close()
