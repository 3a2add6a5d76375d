"""DuckDB's extensions that server and client of Quack load, from their packages: nothing is fetched."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb

from storage.errors import ShareError

EXTENSIONS = ("httpfs", "quack")  # quack needs httpfs loaded before it, on the server too


def extension_files() -> list[Path]:
    """The files, in the order in which they are loaded.  Raises ShareError."""
    extensions = []
    for name in EXTENSIONS:
        package = importlib.util.find_spec(f"duckdb_extension_{name}")
        folders = package.submodule_search_locations if package else None
        files = [f for folder in folders or () for f in Path(folder).rglob(f"{name}.duckdb_extension")]
        if not files:
            raise ShareError(f"The package duckdb-extension-{name} is not installed; sharing needs it.")
        extensions.append(files[0])
    return extensions


def load_extensions(connection: duckdb.DuckDBPyConnection) -> None:
    """Load them.  Raises ShareError when a package is not installed."""
    for file in extension_files():
        connection.execute(f"LOAD {_quoted(str(file))}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
