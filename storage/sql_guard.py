"""What a locked SQL session may run: statements that only read, and only the store.

The first wall is DuckDB's own: `Store.lock_down` takes files and network from the whole database for good.
This is the second: DuckDB says what kind each statement is (`extract_statements`), and the tables and
functions of a SELECT are read from its syntax tree (`json_serialize_sql`).  The third is the read-only
transaction in which the session runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import duckdb

from storage.errors import StoreError
from storage.file.migrate import migrations

# Everything else is refused: functions that read files, open connections or run text as SQL, known or not.
TABLE_FUNCTIONS = re.compile(
    r"unnest|range|generate_series|json_each|json_tree|repeat|repeat_row|summary|pragma_database_size"
    r"|pragma_storage_info|pragma_table_info|pragma_show|pragma_version"
    r"|duckdb_(columns|constraints|databases|functions|indexes|keywords|memory|schemas|settings|tables|types|views)"
)
WRITING_FUNCTIONS = {"write_log", "nextval", "setval", "set_config", "getenv"}
PATH = re.compile(r"[./\\\\:*?\[~]")
"""What a name of a table does not have and the name of a file, an address or a pattern has."""
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
MACRO = re.compile(r"^CREATE (?:OR REPLACE )?MACRO (\w+)\([^)]*\) AS TABLE", re.MULTILINE)
REMEMBERED, REMEMBERED_BYTES = 200, 50_000
_trees: dict[str, str] = {}
UNLOCK = "Unlock the session to run it (--unlock)."


@cache
def own_macros() -> frozenset[str]:
    """Names of the table macros that the store's migrations make, which read the store alone."""
    texts = (file.read_text(encoding="utf-8") for _, file in migrations())
    return frozenset(name for text in texts for name in MACRO.findall(text))


class RefusedError(StoreError):
    """A statement that the session may not run, or that is none; nothing was run."""

    exit_code = 2


def check_locked(cursor: Any, sql: str, statements: list[Any] | None = None) -> None:
    """Raise `RefusedError` when `sql` does more than read the store.  Nothing of it is run on `cursor`.

    `statements` are those of `sql`, where they have been parsed already.
    """
    statements = parse(cursor, sql) if statements is None else statements
    if any(is_pivot_type(statement) for statement in statements):
        _check_pivot(cursor, sql)
        statements = [statement for statement in statements if statement.query]
    for statement in statements:
        _check_statement(cursor, statement)


def parse(cursor: Any, sql: str) -> list[Any]:
    """The statements of a text; `RefusedError` when it has none or does not parse."""
    try:
        statements: list[Any] = cursor.extract_statements(sql)
    except duckdb.Error as error:
        raise RefusedError(f"The SQL cannot be read: {first_lines(error)}") from error
    if not statements:
        raise RefusedError("There is no SQL statement to run.")
    return statements


def first_lines(error: BaseException | str) -> str:
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
    _check_tree(cursor, _syntax_tree(cursor, statement.query))


def _serialised(cursor: Any, query: str) -> str:
    """DuckDB's syntax tree of a text as JSON; that of a text that was looked at lately is remembered."""
    found = _trees.get(query)
    if found is None:
        found = str(cursor.execute("SELECT json_serialize_sql(?)", [query]).fetchone()[0])
        if len(found) < REMEMBERED_BYTES:
            if len(_trees) >= REMEMBERED:
                _trees.clear()
            _trees[query] = found
    return found


def _syntax_tree(cursor: Any, query: str) -> Any:
    tree = json.loads(_serialised(cursor, query))
    if tree.get("error"):
        raise RefusedError(f"This statement cannot be shown to be read-only. {UNLOCK}")
    return tree["statements"]


def _check_tree(cursor: Any, node: Any) -> None:
    """Walk the tree; refuse what is not a table of the store, and functions that reach outside it."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, list):
            waiting.extend(current)
        elif isinstance(current, dict):
            kind = current.get("type")
            if kind == "BASE_TABLE":
                _check_table(cursor, current)
            if kind == "TABLE_FUNCTION":
                _check_table_function(str(current["function"].get("function_name", "")))
            if kind == "FUNCTION" and str(current.get("function_name", "")).lower() in WRITING_FUNCTIONS:
                raise RefusedError(f"The function {current['function_name']}() is not read-only. {UNLOCK}")
            waiting.extend(current.values())


def _check_table(cursor: Any, named: Mapping[str, Any]) -> None:
    """DuckDB joins catalog, schema and table with dots and looks for a file of that name."""
    parts = [str(named.get(part) or "") for part in ("catalog_name", "schema_name", "table_name")]
    whole = ".".join(filter(None, parts))
    if any(PATH.search(part) for part in parts):
        raise RefusedError(f"'{whole}' is a file, not a table of the store. {UNLOCK}")
    catalog, schema, _ = parts
    if catalog or schema:
        databases, schemas = _places(cursor)
        known = catalog.lower() in databases if catalog else schema.lower() in databases | schemas
        if not known or (catalog and schema.lower() not in schemas):
            raise RefusedError(f"'{whole}' is not a table of the store. {UNLOCK}")


def _check_table_function(name: str) -> None:
    if not TABLE_FUNCTIONS.fullmatch(name.lower()) and name.lower() not in own_macros():
        raise RefusedError(f"The table function {name}() can reach outside the store. {UNLOCK}")


def _places(cursor: Any) -> tuple[set[str], set[str]]:
    """The names of databases and of schemas."""
    rows = cursor.execute("SELECT database_name, schema_name FROM duckdb_schemas()").fetchall()
    return {str(database).lower() for database, _ in rows}, {str(schema).lower() for _, schema in rows}


def _check_pivot(cursor: Any, sql: str) -> None:
    """A PIVOT that looks for its values itself has no syntax tree to show, so its words are looked at."""
    text = sql.encode("utf-8", "surrogatepass")  # DuckDB counts bytes
    starts = [start for start, _ in duckdb.tokenize(sql)]
    parts = (text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True))
    words = [part.decode("utf-8", "replace").strip() for part in parts]
    names = "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE function_type LIKE 'table%'"
    table_functions = {name for (name,) in cursor.execute(names).fetchall()}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        called = word.strip('"').lower()
        if following.startswith("(") and called in table_functions | WRITING_FUNCTIONS:
            _check_table_function(called)
        if word[:1] in ("'", '"', "$") and PATH.search(word):
            raise RefusedError(
                f"A PIVOT with {word} cannot be shown to read the store alone; list its values with IN. "
                f"{UNLOCK}"
            )


def is_pivot_type(statement: Any) -> bool:
    """The statement that DuckDB puts before a PIVOT without IN: a temporary type for the values found."""
    return statement.type.name == "CREATE" and not statement.query


def locked_parser() -> Any:
    """A cursor of a database in memory that can reach nothing, to look at SQL with."""
    return _parser().cursor()


@cache
def _parser() -> Any:
    locked: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": False,
        "lock_configuration": True,
        "python_enable_replacements": False,
    }
    return duckdb.connect(":memory:", config=locked)
