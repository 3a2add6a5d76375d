"""Let other processes read the store while the workbench holds the file.

The workbench's own readers ask over a socket in a private folder (`storage.answering`), where a question ends
with its asker.  DuckDB's command line and others speak Quack, DuckDB's own
protocol, to the loopback address (`quack_query(address, sql, token = …)`).  Addresses and a random token lie
in `<database>.share`, a file of mode 0600: whoever may read the database may ask.  Every statement but SELECT
is refused, so a reader cannot change the store; `ATTACH` is refused with the rest.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from storage.answering import Answering, private_folder
from storage.asking import token_path_of
from storage.door import Door, behind_a_socket, free_port
from storage.errors import ShareError, StoreError
from storage.sql_guard import check_locked, locked_parser
from storage.store import Store

EXTENSIONS = ("httpfs", "quack")  # quack needs httpfs loaded before it, on the server too
GUARD = "workbench_only_select"


@dataclass
class Share:
    """A store being served; `close()` stops it and removes the token."""

    store: Store
    address: str
    token: str
    token_path: Path
    _door: Door
    _answering: Answering
    _server: str
    _socket: Path | None
    _folder: Path
    _cursor: duckdb.DuckDBPyConnection

    def close(self) -> None:
        """Take the token away, close the door, stop the server.  Raises ShareError where it does not stop."""
        self.token_path.unlink(missing_ok=True)
        self._door.close()
        self._answering.close()
        try:
            self._cursor.execute("CALL quack_stop(?)", [self._server])
        except duckdb.Error as error:
            raise ShareError(f"Sharing did not stop: {error}") from error
        finally:
            self._cursor.close()
            if self._socket is not None:
                self._socket.unlink(missing_ok=True)
            with suppress(OSError):
                self._folder.rmdir()


def share(store: Store, token_path: Path | None = None) -> Share:
    """Serve `store` to other processes of this machine until `Share.close()` or the end of the process.

    Raises ShareError when the store is in memory and no `token_path` is given, or extensions are missing.
    """
    if token_path is None:
        if store.path is None:
            raise ShareError("A store in memory has no place for the token; give one.")
        token_path = token_path_of(store.path)
    cursor = store.new_cursor()
    try:
        if store.outbox is None:  # once the store is locked down nothing can be loaded any more
            store.before_lock[:] = [load_extensions]
        store.lock_down()
        cursor.create_function(GUARD, _only_select, ["VARCHAR", "VARCHAR"], "BOOLEAN")
        cursor.execute(f"SET GLOBAL quack_authorization_function = '{GUARD}'")
        token, port = secrets.token_urlsafe(32), free_port()
        server = f"quack:localhost:{port}"
        cursor.execute(f"CALL quack_serve('{server}', token = '{token}')")
    except duckdb.Error as error:
        cursor.close()
        raise ShareError(f"The store cannot be shared: {str(error).splitlines()[0]}") from error
    folder = private_folder()
    private = behind_a_socket(port, folder)
    door, answering = Door(private or port), Answering(store, token, folder)
    address = f"quack:localhost:{door.port}"
    shared = {"address": address, "token": token, "pid": os.getpid(), "socket": str(answering.path)}
    _write_private(token_path, json.dumps(shared))
    return Share(store, address, token, token_path, door, answering, server, private, folder, cursor)


def _only_select(_session: str, sql: str) -> bool:
    """Called by the server before every statement; an error here refuses too.

    EXPLAIN and PRAGMA are refused as well: EXPLAIN ANALYZE runs what it explains.
    """
    parser = locked_parser()
    try:
        check_locked(parser, sql)
        statements = parser.extract_statements(sql)
    except (duckdb.Error, StoreError):
        return False
    finally:
        parser.close()
    return all(statement.type == duckdb.StatementType.SELECT for statement in statements)


def extension_files() -> list[Path]:
    """The files of DuckDB's extensions that server and client load, in order.  Raises ShareError."""
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
    """Load what sharing needs.  Raises ShareError when a package is not installed."""
    for file in extension_files():
        connection.execute(f"LOAD {_quoted(str(file))}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
