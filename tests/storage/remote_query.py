"""One SELECT asked of the process that holds a store over Quack, as DuckDB's command line asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from storage.errors import ShareError
from storage.share.asking import GoneError, shared_by
from storage.share.extensions import load_extensions
from storage.sql_guard import first_lines


def query_remote(database: Path, sql: str) -> list[tuple[Any, ...]]:
    """The rows.  Raises ShareError when nobody shares the store, or it refuses the statement."""
    shared = shared_by(database)
    with duckdb.connect(":memory:") as connection:
        load_extensions(connection)
        # A macro, so that no error shows the token with the text of the question.
        connection.execute(
            "CREATE MACRO held(question) AS TABLE SELECT * FROM "
            f"quack_query('{shared['address']}', question, token = '{shared['token']}')"
        )
        try:
            return connection.execute("FROM held($sql)", {"sql": sql}).fetchall()
        except duckdb.Error as error:
            raise _refusal(str(error), database) from error


def _refusal(text: str, database: Path) -> ShareError:
    """What a client's DuckDB error about the store of another process means."""
    if "Authorization failed" in text:
        return ShareError(
            "Another process holds the store: only SELECT from its tables and views can be asked."
        )
    if "Authentication failed" in text:
        return GoneError(f"The token of {database} is old; open the workbench on it again.")
    if "onnect" in text:
        return GoneError(f"The workbench that shared {database} does not answer; open it again.")
    return ShareError(first_lines(text.removeprefix("Invalid Input Error: ")))
