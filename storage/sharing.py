"""Let other processes read the store while the workbench holds the file.

The workbench serves queries over Quack, DuckDB's own protocol, on the loopback address.  A client needs the
port and a random token, which lie in `<database>.share`, a file of mode 0600: whoever may read the database
may ask.  The server refuses every statement but SELECT, so a reader cannot change the store; `ATTACH` is
refused with the rest.  Clients use `quack_query(address, sql, token = …)`, as here.
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

from storage.door import Door, behind_a_socket, free_port
from storage.errors import ShareError, StoreError
from storage.sql_guard import check_locked, first_lines, locked_parser
from storage.store import Store

EXTENSIONS = ("httpfs", "quack")  # quack needs httpfs loaded before it, on the server too
GUARD = "workbench_only_select"
HELD = "held"  # the table macro of `client`


class GoneError(ShareError):
    """Nobody shares the store, or no longer."""


@dataclass
class Share:
    """A store being served; `close()` stops it and removes the token."""

    store: Store
    address: str
    token: str
    token_path: Path
    _door: Door
    _server: str
    _socket: Path | None
    _cursor: duckdb.DuckDBPyConnection

    def close(self) -> None:
        """Take the token away, close the door, stop the server.  Raises ShareError where it does not stop."""
        self.token_path.unlink(missing_ok=True)
        self._door.close()
        try:
            self._cursor.execute("CALL quack_stop(?)", [self._server])
        except duckdb.Error as error:
            raise ShareError(f"Sharing did not stop: {error}") from error
        finally:
            self._cursor.close()
            if self._socket is not None:
                self._socket.unlink(missing_ok=True)
                with suppress(OSError):
                    self._socket.parent.rmdir()


def token_path_of(database: Path) -> Path:
    """Where the workbench that holds `database` writes port and token."""
    return database.with_name(database.name + ".share")


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
    private = behind_a_socket(port)
    door = Door(private or port)
    address = f"quack:localhost:{door.port}"
    _write_private(token_path, json.dumps({"address": address, "token": token, "pid": os.getpid()}))
    return Share(store, address, token, token_path, door, server, private, cursor)


def client(database: Path) -> duckdb.DuckDBPyConnection:
    """A connection of its own in which `FROM held('SELECT …')` is answered by whoever holds `database`.

    Raises ShareError when nobody shares it, or extensions are missing.
    """
    try:
        shared = json.loads(token_path_of(database).read_text(encoding="utf-8"))
        address, token = str(shared["address"]), str(shared["token"])
    except (OSError, ValueError, KeyError, TypeError):
        raise GoneError(f"No workbench shares {database}; open it there first.") from None
    connection = duckdb.connect(":memory:")
    try:
        load_extensions(connection)
        # A macro, so that no error shows the token with the text of the question.
        asked = f"SELECT * FROM quack_query({_quoted(address)}, question, token = {_quoted(token)})"
        connection.execute(f"CREATE MACRO {HELD}(question) AS TABLE {asked}")
    except BaseException:
        connection.close()
        raise
    return connection


def refusal(text: str, database: Path) -> ShareError:
    """What a client's DuckDB error about the store of another process means to a person."""
    if "Authorization failed" in text:
        return ShareError(
            "Another process holds the store: only SELECT from its tables and views can be asked."
        )
    if "Authentication failed" in text:
        return GoneError(f"The token of {database} is old; open the workbench on it again.")
    if "onnect" in text:
        return GoneError(f"The workbench that shared {database} does not answer; open it again.")
    # Of the holder's own error the client's DuckDB keeps the words and not the kind.
    return ShareError(first_lines(text.removeprefix("Invalid Input Error: ")))


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
