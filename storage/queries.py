"""Queries that a researcher has run or saved, and what there is to query."""

from __future__ import annotations

from storage.ids import random_id
from storage.records import SavedQuery, TableInfo
from storage.sql import block
from storage.store import Store


def remember(
    store: Store, sql: str, *, rows: int | None = None, seconds: float | None = None, error: str | None = None
) -> str:
    """Add a query to the history; its id."""
    return _add(store, None, sql, rows, seconds, error)


def save(store: Store, name: str, sql: str) -> str:
    """Keep a query under a name; the name's older query is replaced."""
    with store.transaction():
        store.write(block("queries", "drop_name"), {"name": name})
        return _add(store, name, sql, None, None, None)


def forget(store: Store, name: str) -> None:
    """Drop the query of that name."""
    store.write(block("queries", "drop_name"), {"name": name})


def history(store: Store, limit: int = 200) -> list[SavedQuery]:
    """What was run, newest first."""
    return store.records(SavedQuery, block("queries", "history"), {"history": True, "limit": limit})


def saved(store: Store) -> list[SavedQuery]:
    """Queries that have a name, newest first."""
    return store.records(SavedQuery, block("queries", "history"), {"history": False, "limit": 10_000})


def offered(store: Store, parameter: str) -> list[str]:
    """Names that a parameter called `reward_model`, `policy`, … may have, newest first; else nothing."""
    return [name for (name,) in store.rows(block("queries", "offered"), {"parameter": parameter})]


def functions(store: Store) -> list[str]:
    """Names of functions and macros, those with an ordinary name."""
    return [name for (name,) in store.rows(block("queries", "functions"))]


def tree(store: Store) -> list[TableInfo]:
    """Tables and views with their columns, by name."""
    columns_of: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for table, kind, column, data_type in store.rows(block("queries", "tree")):
        columns_of.setdefault((table, kind), []).append((column, data_type))
    return [TableInfo(table, kind, tuple(columns)) for (table, kind), columns in columns_of.items()]


def _add(
    store: Store, name: str | None, sql: str, rows: int | None, seconds: float | None, error: str | None
) -> str:
    query = random_id("q")
    store.write(
        block("queries", "add"),
        {"query_id": query, "name": name, "sql": sql, "rows": rows, "seconds": seconds, "error": error},
    )
    return query
