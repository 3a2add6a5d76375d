"""A whole store in one statement, and a new file made of its rows.

One SELECT sees one moment.  So what another process holds is asked for at once: every row of every table as a
struct in the column of its table's name.  In the process that holds the file a transaction does the same, and
sixty empty columns beside every row are spared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import FileNameError, StoreError
from storage.file.faults import told
from storage.share.remote import RemoteStore
from storage.sql import block
from storage.store import Parameters, Store

if TYPE_CHECKING:
    import pyarrow

OWN = ("schema_migrations",)
"""Tables that every store makes for itself."""
BATCH_ROWS = 20_000
COMMIT_ROWS = 200_000
"""What is not committed yet is held in memory, whatever its limit; the file appears whole all the same."""


def tables(store: Store) -> list[str]:
    """Names of the tables whose rows make a store what it is."""
    return [name for (name,) in store.rows(block("packing", "tables")) if name not in OWN]


def snapshot(store: Store, target: Path, on_rows: Callable[[int], None] | None = None) -> int:
    """Write all rows of `store`, as of one moment, to a new store at `target`; the number of rows.

    Token traces and models stay where they are.  The file appears whole or not at all, for its owner alone.
    Raises FileNameError where something is there already, StoreError.
    """
    names = tables(store)
    if isinstance(store, RemoteStore):
        parts = [f'SELECT "{name}" FROM "{name}"' for name in names]
        return write_store(store, target, "\nUNION ALL BY NAME ".join(parts), on_rows)
    return _write(store, target, _read(store, names), on_rows)


def write_store(
    source: Store,
    target: Path,
    question: str,
    on_rows: Callable[[int], None] | None = None,
    *,
    parameters: Parameters = None,
) -> int:
    """A new store at `target` of the rows that `question` gives; the number of rows.

    `question` is one SELECT; each column is named after a table and holds structs of its columns.
    """
    return _write(source, target, _asked(source, question, parameters), on_rows)


def _write(
    source: Store,
    target: Path,
    asked: Iterator[tuple[str, pyarrow.Table]],
    on_rows: Callable[[int], None] | None = None,
) -> int:
    """A new store at `target` of rows by table; the number of rows."""
    if target.exists():
        raise FileNameError(f"{target} is there already; give another name, or remove it.")
    if not target.absolute().parent.is_dir():
        raise FileNameError(f"{target} cannot be written: there is no folder {target.absolute().parent}.")
    unfinished = target.absolute().with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with Store.open(unfinished, runs_root=source.runs_root) as made:
            count, keyed = 0, keys(made)
            while more := _insert_some(made, asked, keyed):
                count += more
                if on_rows is not None:
                    on_rows(count)
        os.link(unfinished, target.absolute())  # which, unlike a rename, never replaces
        return count
    except FileExistsError:
        raise FileNameError(f"{target} is there already; give another name, or remove it.") from None
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        for left in (unfinished, Path(f"{unfinished}.wal")):
            with suppress(OSError):
                left.unlink(missing_ok=True)


def _asked(source: Store, question: str, parameters: Parameters) -> Iterator[tuple[str, pyarrow.Table]]:
    """(table, rows), batch by batch."""
    import pyarrow

    cursor = source.new_cursor()
    try:
        with told(source.path):
            for batch in cursor.execute(question, parameters).to_arrow_reader(BATCH_ROWS):
                for name, column in zip(batch.schema.names, batch.columns, strict=True):
                    held = column.drop_null()
                    if len(held):
                        fields = [held.type.field(place) for place in range(held.type.num_fields)]
                        yield name, pyarrow.Table.from_arrays(held.flatten(), schema=pyarrow.schema(fields))
    finally:
        cursor.close()


def _read(source: Store, names: Sequence[str]) -> Iterator[tuple[str, pyarrow.Table]]:
    """(table, rows), batch by batch: in the process that holds the file one transaction sees one moment."""
    import pyarrow

    cursor = source.new_cursor()
    try:
        with told(source.path):
            cursor.execute("BEGIN TRANSACTION")
            for name in names:
                for batch in cursor.execute(f'SELECT * FROM "{name}"').to_arrow_reader(BATCH_ROWS):
                    yield name, pyarrow.Table.from_batches([batch])
    finally:
        cursor.close()


def _insert_some(store: Store, asked: Iterator[tuple[str, pyarrow.Table]], keyed: Collection[str]) -> int:
    """Insert what comes next and commit it; how many rows, 0 at the end."""
    count = 0
    with store.transaction():
        for table, rows in asked:
            _insert(store, table, rows, keyed=table in keyed)
            count += rows.num_rows
            if count >= COMMIT_ROWS:
                break
    return count


def _insert(store: Store, table: str, rows: pyarrow.Table, *, keyed: bool) -> None:
    """What a new store has of itself stays, as its folder of runs."""
    names = ", ".join(f'"{name}"' for name in rows.column_names)
    insert = "INSERT OR IGNORE" if keyed else "INSERT"
    with store.transaction() as cursor:
        cursor.register("arrived", rows)
        try:
            cursor.execute(f'{insert} INTO "{table}" ({names}) SELECT {names} FROM arrived')
        finally:
            cursor.unregister("arrived")


def columns(store: Store) -> dict[str, list[str]]:
    """Names of each table's columns, in order."""
    by_table: dict[str, list[str]] = {}
    for table, name in store.rows(block("packing", "columns")):
        by_table.setdefault(table, []).append(name)
    return by_table


def keys(store: Store) -> dict[str, list[str]]:
    """The columns of the primary key of each table that has one."""
    return dict(store.rows(block("packing", "keys")))
