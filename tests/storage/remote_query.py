"""One SELECT asked of the process that holds a store, as any reader of another process asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from storage.sharing import HELD, client, refusal


def query_remote(database: Path, sql: str) -> list[tuple[Any, ...]]:
    """The rows.  Raises ShareError when nobody shares the store, or it refuses the statement."""
    connection = client(database)
    try:
        return connection.execute(f"FROM {HELD}($sql)", {"sql": sql}).fetchall()
    except duckdb.Error as error:
        raise refusal(str(error), database) from error
    finally:
        connection.close()
