"""Reading a store through the process that holds it."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import threading
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import sql_guard
from storage.errors import FileNameError, LockedError
from storage.literals import filled_in, literal, parameters_of
from storage.share.remote import RemoteStore
from storage.share.sharing import share
from storage.sql import QUERIES, _blocks, block
from storage.store import Store
from storage.transfer.packing import snapshot
from tests.storage.builders import add_prompt, add_responses, judge

ROOT = Path(__file__).parents[3]
TEXTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"))
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(),
    TEXTS,
    st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)),
    st.dates(date(1970, 1, 1), date(2200, 1, 1)),
    st.lists(TEXTS, min_size=1),
)


@given(VALUES)
def test_a_literal_is_the_value(value: Any) -> None:
    (found,) = duckdb.sql(f"SELECT {literal(value)}").fetchone() or ()
    assert found == value or (math.isnan(value) and math.isnan(found))


@given(TEXTS, st.integers(0, 100))
def test_parameters_are_filled_in_where_they_stand(text: str, number: int) -> None:
    """Not in strings, quoted names and comments, nor in what was filled in."""
    sql = "SELECT $text AS a, '$text ?' AS \"$text\", $number + 1 -- $nothing ?\n"
    assert parameters_of(sql) == ["text", "number"]
    row = duckdb.sql(filled_in(sql, {"text": text, "number": number})).fetchone()
    assert row == (text, "$text ?", number + 1)
    assert duckdb.sql(filled_in("SELECT ?, '?', ?", [text, number])).fetchone() == (text, "?", number)


def test_every_reading_query_of_the_program_may_be_asked(store: Store) -> None:
    """What services ask passes the guard that the holder sets before questions."""
    asked = 0
    for file in sorted(QUERIES.glob("*.sql")):
        for name in _blocks(file.stem):
            sql = re.sub(
                r"\{\w+\}",
                "SELECT NULL::VARCHAR AS prompt_id, 'a' AS response_a, 'b' AS response_b",
                block(file.stem, name),
            )
            try:
                kinds = {statement.type for statement in duckdb.extract_statements(sql)}
            except duckdb.Error:
                continue  # a part of others
            if kinds == {duckdb.StatementType.SELECT} and "read_parquet" not in sql and "arrived" not in sql:
                sql_guard.check_locked(store.cursor(), re.sub(r"\$\w+", "NULL", sql))
                asked += 1
    assert asked > 80


READ = """
import sys
from pathlib import Path
from storage import judgements, prompts
from storage.errors import LockedError
from storage.ids import annotator_id
from storage.share.remote import RemoteStore
with RemoteStore(Path(sys.argv[1]), LockedError("held")) as store:
    print(prompts.count(store), judgements.annotators(store), judgements.prompts_to_rank(store, "bo"))
    try:
        prompts.add(store, [{"role": "user", "content": "no"}], source="test")
    except LockedError as error:
        print(error)
"""


def test_services_read_and_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Store.open(path) as store:
        prompt = add_prompt(store)
        first, second = add_responses(store, prompt, "one", "two")
        judge(store, prompt, {first: 1, second: 2})
        serving = share(store)
        try:
            command = [sys.executable, "-c", READ, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=60)
        finally:
            serving.close()
    assert done.stdout.splitlines() == [f"1 [('ana', 'human')] ['{prompt}']", "held"]


def test_where_nobody_answers_the_lock_is_told(tmp_path: Path) -> None:
    locked = LockedError("held by 1")
    with pytest.raises(LockedError) as told:
        RemoteStore.beside(tmp_path / "a.duckdb", locked)
    assert told.value is locked


def test_a_snapshot_is_of_one_moment(tmp_path: Path) -> None:
    """A thread adds a prompt and its response in one transaction: never is one there without the other."""
    with Store.open(tmp_path / "a.duckdb") as store:
        ended, added = threading.Event(), threading.Event()

        def write() -> None:
            number = 0
            while not ended.is_set():
                with store.transaction():
                    add_responses(store, add_prompt(store, f"number {number}"), f"answer {number}")
                number += 1
                if number == 20:
                    added.set()

        writing = threading.Thread(target=write)
        writing.start()
        try:
            assert added.wait(60)
            for number in range(4):
                snapshot(store, tmp_path / f"{number}.duckdb")
        finally:
            ended.set()
            writing.join()
        with pytest.raises(FileNameError, match="there already"):
            snapshot(store, tmp_path / "0.duckdb")
    counts = []
    for number in range(4):
        file = tmp_path / f"{number}.duckdb"
        assert file.stat().st_mode & 0o777 == 0o600
        with Store.open(file) as copy:
            counts.append(copy.row("SELECT (SELECT count(*) FROM prompts), (SELECT count(*) FROM responses)"))
    assert all(prompts == responses for prompts, responses in counts)
    assert counts[0][0] >= 20
    assert not list(tmp_path.glob(".*"))


def test_a_snapshot_has_every_row_of_every_table(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        prompt = add_prompt(store, "with é and \x1f")
        first, second = add_responses(store, prompt, "one", "")
        judge(store, prompt, {first: 1, second: 1}, note="n")
        store.write(
            "INSERT INTO runs (run_id, kind, status, config) VALUES ('r', 'ppo', 'done', '{\"a\": 1}')"
        )
        store.write(
            "INSERT INTO metrics SELECT 'r', i, i, 'x', 'nan', now()::TIMESTAMP FROM range(30000) t(i)"
        )
        store.write(
            "UPDATE responses SET token_ids = [1], token_logprobs = ['-inf'::FLOAT] WHERE response_id = $r",
            {"r": first},
        )
        rows = snapshot(store, tmp_path / "b.duckdb")
        names = [n for (n,) in store.rows("SELECT table_name FROM duckdb_tables()") if n != "store_settings"]
        with Store.open(tmp_path / "b.duckdb") as copy:
            for name in set(names) - {"schema_migrations"}:
                sql = f"SELECT {name}::VARCHAR AS row FROM {name} ORDER BY ALL"
                assert copy.rows(sql) == store.rows(sql), name
    assert rows > 30_000
