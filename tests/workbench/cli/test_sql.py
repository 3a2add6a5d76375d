"""`workbench sql`: what it prints, where it reads, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.workbench.cli.shell import Shell


def test_sql_as_json_csv_and_table(filled: Shell) -> None:
    query = (
        "SELECT 1 AS a, 2.5 AS b, 'x,y' AS c, [1, 2] AS d, NULL AS e, DATE '2026-01-02' AS f, "
        "'nan'::DOUBLE AS g"
    )
    assert filled.json("sql", query) == [
        {"a": 1, "b": 2.5, "c": "x,y", "d": [1, 2], "e": None, "f": "2026-01-02", "g": None}
    ]
    assert filled.json("sql", "-- a comment first\nSELECT 1 AS a") == [{"a": 1}]
    assert filled("sql", query, "--csv").stdout.splitlines()[1] == '1,2.5,"x,y","[1,2]",,2026-01-02,nan'
    table = filled("sql", "SELECT text FROM prompts ORDER BY text")
    assert table.stdout.splitlines() == ["text", "────────", "Say bye.", "Say hi."]
    assert table.stderr == "2 rows.\n"


def test_sql_of_no_rows_is_still_json(filled: Shell) -> None:
    assert filled.json("sql", "SELECT * FROM prompts WHERE false") == []


def test_sql_from_stdin_to_a_file(filled: Shell) -> None:
    done = filled("sql", "-", "-o", "out.parquet", stdin="SELECT * FROM prompts")
    assert (done.returncode, done.stdout) == (0, "")
    assert (filled.folder / "out.parquet").read_bytes()[:4] == b"PAR1"


def test_sql_with_other_letters_goes_to_a_file(filled: Shell) -> None:
    done = filled("sql", "SELECT 'Größe 日本語' AS \"größe\", 5::HUGEINT AS n; -- ä", "-o", "out.csv")
    assert (done.returncode, done.stderr) == (0, "1 row written to out.csv.\n")
    assert (filled.folder / "out.csv").read_text(encoding="utf-8") == "größe,n\nGröße 日本語,5\n"


def test_sql_writes_when_unlocked(workbench: Shell) -> None:
    done = workbench("sql", "CREATE TABLE mine (a INTEGER)", "--unlock")
    assert done.returncode == 0, done.stderr
    assert workbench.json("sql", "SELECT count(*) AS n FROM mine") == [{"n": 0}]


def test_a_reader_that_leaves_is_no_error(filled: Shell) -> None:
    ours = f"{sys.executable} -m workbench sql 'SELECT * FROM range(300000)' --csv"
    command = ["bash", "-c", f"{ours} | head -1; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(command, capture_output=True, text=True, env=filled.environment, check=False)
    assert done.returncode == 0
    assert done.stdout == "range\n"
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_sql_goes_through_a_workbench_that_shares(filled: Shell) -> None:
    from storage.share.sharing import share
    from storage.store import Store

    with Store.open(Path(filled.environment["WORKBENCH_DB"])) as store:
        shared = share(store)
        try:
            assert filled.json("sql", "SELECT count(*) AS n FROM prompts") == [{"n": 2}]
            assert filled("sql", "DELETE FROM prompts", "--unlock").returncode == 1
            misspelt = filled("sql", "SELEC 1")
            assert (misspelt.returncode, "syntax error" in misspelt.stderr) == (2, True)
        finally:
            shared.close()


def test_sql_says_that_only_the_last_rows_are_shown(workbench: Shell) -> None:
    done = workbench("sql", "--csv", "SELECT 1 AS a; SELECT 2 AS b")
    assert done.stdout == "b\n2\n"
    assert "All 2 statements were run; the rows are those of the last." in done.stderr


def test_sql_json_keeps_columns_of_one_name(workbench: Shell) -> None:
    done = workbench("sql", "--json", "SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS a")
    assert json.loads(done.stdout) == [{"a": 1, "a_3": 2, "a_2": 3, "a_4": 4}]


def test_an_explained_query_is_readable(workbench: Shell) -> None:
    done = workbench("sql", "EXPLAIN SELECT text FROM prompts")
    lines = done.stdout.splitlines()
    assert len(lines) > 5
    assert any("prompts" in line for line in lines)
    assert len({len(line) for line in lines}) == 1  # a drawing, whose lines are as wide as each other
