"""The SQL session: what a locked one refuses, streaming, cancelling, history, export."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from storage.console import QueryCancelledError, QueryError
from storage.errors import FileNameError
from storage.sql_guard import RefusedError
from workbench.services.workspace import Workspace

READS = [
    "SELECT count(*) FROM prompts",
    "WITH x AS (SELECT 1 AS a) SELECT * FROM x",
    "FROM prompts SELECT text ORDER BY ALL",
    "DESCRIBE prompts",
    "SUMMARIZE responses",
    "SHOW TABLES",
    "PRAGMA table_info('prompts')",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE SELECT count(*) FROM prompts",
    "SELECT * FROM range(3), unnest([1, 2])",
    "SELECT name FROM duckdb_settings() LIMIT 1",
    "PIVOT responses ON policy_id IN ('a') USING count(*)",
    "SELECT 1; SELECT 2 -- done",
]
WRITES = [
    "DELETE FROM prompts",
    "WITH x AS (SELECT 1) DELETE FROM prompts",
    "INSERT INTO prompts (prompt_id, text, messages) VALUES ('p', 't', '[]')",
    "UPDATE prompts SET text = 'x'",
    "CREATE TABLE mine (a INTEGER)",
    "CREATE TEMP TABLE mine AS SELECT 1",
    "DROP VIEW win_rates",
    "COPY prompts TO 'out.csv'",
    "COPY prompts FROM 'in.csv'",
    "EXPORT DATABASE 'out'",
    "IMPORT DATABASE 'in'",
    "ATTACH 'other.duckdb'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET memory_limit = '1GB'",
    "PRAGMA enable_profiling",
    "CALL pragma_version()",
    "BEGIN",
    "CHECKPOINT",
    "EXPLAIN ANALYZE DELETE FROM prompts",
    "EXPLAIN (ANALYZE, FORMAT json) DELETE FROM prompts",
    "EXPLAIN/**/ANALYZE DELETE FROM prompts",
    "SELECT 1; DELETE FROM prompts",
    "SELECT * FROM read_text('/etc/hostname')",
    "SELECT (SELECT content FROM read_text('/etc/hostname'))",
    "WITH x AS (FROM read_csv('a.csv')) SELECT * FROM x",
    "SELECT * FROM 'a.parquet'",
    'SELECT * FROM "/tmp/a.csv"',
    "SELECT * FROM glob('*')",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('prompts')",
    "DESCRIBE 'a.csv'",
    "SELECT * FROM sniff_csv('a.csv')",
]


@pytest.mark.parametrize("sql", READS)
def test_a_locked_session_reads(filled: Workspace, sql: str) -> None:
    assert filled.sql.run(sql).columns


@pytest.mark.parametrize("sql", WRITES)
def test_a_locked_session_refuses(filled: Workspace, sql: str) -> None:
    before = filled.library.overview()
    with pytest.raises(RefusedError):
        filled.sql.run(sql)
    assert filled.library.overview() == before


def test_an_unlocked_session_writes(filled: Workspace) -> None:
    filled.sql.run("UPDATE prompts SET source = 'mine'", unlocked=True)
    assert filled.library.sources() == [("mine", 2)]


def test_writes_are_refused_by_the_transaction_too(
    filled: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.sql_guard.check_locked", lambda *_: None)
    with pytest.raises(QueryError, match="read-only"):
        filled.sql.run("DELETE FROM prompts")
    assert filled.library.count() == 2


@pytest.mark.parametrize("sql", ["", "  ", "-- nothing", ";"])
def test_no_statement_is_told(filled: Workspace, sql: str) -> None:
    with pytest.raises(RefusedError, match="no SQL statement"):
        filled.sql.run(sql)


def test_a_mistake_is_told_in_duckdb_words_without_its_picture(filled: Workspace) -> None:
    with pytest.raises(QueryError) as told:
        filled.sql.run("SELECT * FROM prompt")
    assert "prompts" in str(told.value)
    assert "\n" not in str(told.value)
    with pytest.raises(RefusedError, match="syntax error"):
        filled.sql.run("SELEC 1")


def test_a_large_result_is_cut_and_says_so(filled: Workspace) -> None:
    result = filled.sql.run("SELECT * FROM range(100000)", limit=30_000)
    assert (result.rows, result.truncated) == (30_000, True)
    whole = filled.sql.run("SELECT * FROM range(40000)", limit=40_000)
    assert (whole.rows, whole.truncated) == (40_000, False)


def test_a_stream_computes_only_what_is_read(filled: Workspace) -> None:
    started = time.monotonic()
    with filled.sql.stream("SELECT * FROM range(10000000000)") as batches:
        first = next(iter(batches))
    assert first.num_rows > 0
    assert time.monotonic() - started < 10


def test_cancel_from_another_thread(filled: Workspace) -> None:
    timer = threading.Timer(0.3, filled.sql.cancel)
    timer.start()
    with pytest.raises(QueryCancelledError):
        filled.sql.run(
            "SELECT count(*) FROM range(3000000) a, range(3000000) b WHERE (a.range * b.range) % 7 = 3"
        )
    timer.join()
    assert filled.sql.run("SELECT 1").rows == 1
    filled.sql.cancel()


def test_history_holds_rows_and_errors(filled: Workspace) -> None:
    filled.sql.run("SELECT * FROM prompts")
    with pytest.raises(QueryError):
        filled.sql.run("SELECT * FROM nowhere")
    latest, earlier = filled.sql.history()[:2]
    assert (earlier.sql, earlier.rows, earlier.error) == ("SELECT * FROM prompts", 2, None)
    assert latest.error is not None
    filled.sql.save("all", "FROM prompts")
    filled.sql.save("all", "FROM responses")
    assert [query.sql for query in filled.sql.saved()] == ["FROM responses"]


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_export(filled: Workspace, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"it's.{ending}"
    assert filled.sql.export("SELECT text FROM responses; -- all", path) == 5
    assert path.stat().st_size > 0
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("sql", "name"),
    [("SELECT * FROM nowhere", "a.csv"), ("DELETE FROM prompts", "a.csv"), ("SELECT 1", "a.xls")],
)
def test_a_failed_export_leaves_nothing(filled: Workspace, tmp_path: Path, sql: str, name: str) -> None:
    with pytest.raises((QueryError, RefusedError, FileNameError)):
        filled.sql.export(sql, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_tree_holds_tables_and_views(workspace: Workspace) -> None:
    tree = {entry.name: entry for entry in workspace.sql.tree()}
    assert tree["prompts"].kind == "table"
    assert tree["preference_pairs"].kind == "view"
    assert ("text", "VARCHAR") in tree["prompts"].columns
