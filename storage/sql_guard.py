"""What a locked SQL session may run: statements that only read, and only the store.

DuckDB itself decides what kind each statement is (`extract_statements`); the tables and table functions of a
SELECT are read from its syntax tree (`json_serialize_sql`).  The session then runs in a read-only
transaction, so a mistake here cannot change the store.
"""

from __future__ import annotations

import json
import re
from typing import Any

from storage.errors import StoreError

# Everything else is refused: functions that read files, open connections or run text as SQL, known or not.
TABLE_FUNCTIONS = re.compile(
    r"unnest|range|generate_series|json_each|json_tree|repeat|repeat_row|summary|pragma_database_size"
    r"|pragma_storage_info|pragma_table_info|pragma_show|pragma_version"
    r"|model_run|model_scores|measured_prompts|(judged|measured|annotator)_pairs|prompt_(taus|figures)"
    r"|duckdb_(columns|constraints|databases|functions|indexes|keywords|memory|schemas|settings|tables|types|views)"
)
PRAGMAS = (
    "table_info",
    "show_tables",
    "show_tables_expanded",
    "database_list",
    "database_size",
    "version",
    "show",
)
PRAGMA = re.compile(r"\s*pragma\s+(\w+)", re.IGNORECASE)
EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+)?(\([^)]*\)\s*)?", re.IGNORECASE)
UNLOCK = "Unlock the session to run it (--unlock)."


class RefusedError(StoreError):
    """A statement that the session may not run, or that is none; nothing was run."""

    exit_code = 2


def check_locked(cursor: Any, sql: str) -> None:
    """Raise `RefusedError` when `sql` does more than read the store.  Nothing of it is run on `cursor`."""
    for statement in parse(cursor, sql):
        _check_statement(cursor, statement)


def parse(cursor: Any, sql: str) -> list[Any]:
    """The statements of a text; `RefusedError` when it has none or does not parse."""
    import duckdb

    try:
        statements: list[Any] = cursor.extract_statements(sql)
    except duckdb.Error as error:
        raise RefusedError(f"The SQL cannot be read: {first_lines(error)}") from error
    if not statements:
        raise RefusedError("There is no SQL statement to run.")
    return statements


def first_lines(error: BaseException) -> str:
    """DuckDB's message without its picture of the statement."""
    lines = str(error).strip().split("\n\nLINE ")[0].splitlines()
    text = " ".join(line.strip() for line in lines if line.strip()).rstrip(".")
    return text if text.endswith(("?", "!")) else text + "."


def _check_statement(cursor: Any, statement: Any) -> None:
    kind = statement.type.name
    if kind == "EXPLAIN":
        inner = EXPLAIN.sub("", statement.query, count=1)
        for explained in parse(cursor, inner):
            if explained.type.name == "EXPLAIN":
                raise RefusedError(f"An EXPLAIN of an EXPLAIN is not read-only. {UNLOCK}")
            _check_statement(cursor, explained)
        return
    if kind != "SELECT":
        raise RefusedError(f"This session is read-only and {kind} writes, or changes the session. {UNLOCK}")
    pragma = PRAGMA.match(statement.query)
    if pragma:
        if pragma.group(1).lower() not in PRAGMAS:
            raise RefusedError(f"PRAGMA {pragma.group(1)} is not among those that only read. {UNLOCK}")
        return
    _check_tree(_syntax_tree(cursor, statement.query))


def _syntax_tree(cursor: Any, query: str) -> Any:
    tree = json.loads(cursor.execute("SELECT json_serialize_sql(?)", [query]).fetchone()[0])
    if tree.get("error"):
        raise RefusedError(f"This statement cannot be shown to be read-only. {UNLOCK}")
    return tree["statements"]


def _check_tree(node: Any) -> None:
    """Walk the tree; refuse files named as tables, and table functions that reach outside the store."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, list):
            waiting.extend(current)
        elif isinstance(current, dict):
            if current.get("type") == "BASE_TABLE" and re.search(r"[./\\:*]", current["table_name"]):
                raise RefusedError(f"'{current['table_name']}' is a file, not a table of the store. {UNLOCK}")
            if current.get("type") == "TABLE_FUNCTION":
                name = str(current["function"].get("function_name", "")).lower()
                if not TABLE_FUNCTIONS.fullmatch(name):
                    raise RefusedError(f"The table function {name}() can reach outside the store. {UNLOCK}")
            waiting.extend(current.values())
