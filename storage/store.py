"""The one owner of the DuckDB file.

DuckDB lets one process open a file and refuses every other, readers too, so exactly one `Store` is open on
a file and everything goes through it: `cursor()` gives each thread its own, `transaction()` makes a change
whole.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from storage.errors import DiskFullError, StoreError
from storage.file import creation, held, migrate, recovery, runs_folder, spilling, walls
from storage.file.faults import told
from storage.file.traces import set_aside_torn
from storage.file.turns import Turns
from storage.file.walls import bytes_of
from storage.rows import with_rows
from storage.sql import block

if TYPE_CHECKING:
    import pyarrow

T = TypeVar("T")
Cursor = duckdb.DuckDBPyConnection
Parameters = Mapping[str, Any] | Sequence[Any] | None

# The workers and the researcher's other programs need the memory more; DuckDB spills to disk above this.
CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "2GB",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,  # a name in SQL is never a variable of Python
    # Writing the log into the file takes 100 to 300 ms, for which a judgement waits; DuckDB's own 16 MB are
    # 300,000 metrics.  After a kill, a log of 64 MB is read back in 1.4 s.
    "checkpoint_threshold": "64MB",
    # New files are for DuckDB 1.2 (February 2025) and later: in the older layout an import takes a tenth
    # longer, and more disk.  A file that is there keeps its layout.
    "storage_compatibility_version": "v1.2.0",
}
ROOM = 64 * 2**20
"""Bytes of the disk, or a twentieth of a small one, that imports leave."""
MANY = 2000  # rows, from which importing pyarrow pays


class Store:
    """An open store.  `path` is None in memory; `runs_root` is the folder of run directories or None."""

    def __init__(self, connection: Cursor, path: Path | None, runs_root: Path | None) -> None:
        self.path = path
        self.runs_root = runs_root
        self._connection = connection
        self._local = threading.local()
        self._cursors: weakref.WeakSet[Cursor] = weakref.WeakSet()
        self._writing = Turns()
        self._depth = 0
        self._closed = False
        self._held: held.Key | None = None
        self._locking = threading.Lock()
        self._outbox: Path | None = None
        self._locked_down = False
        self.recovered: recovery.Recovery | None = None
        """What the last session's log had that could not be read, when there was something."""
        self.changes = 0
        """Transactions committed by this process: whoever remembers the number sees that nothing is new."""

    @classmethod
    def open(cls, path: Path | str, runs_root: Path | None = None) -> Store:
        """Open the store at `path`, or a new one in memory for `":memory:"`.

        A missing file is made (mode 0600, its folder 0700); an older one is migrated after a copy was made.
        `runs_root` is `<stem>.runs` beside the file unless given.  Raises LockedError, NewerSchemaError,
        NotADatabaseError, DiskFullError, StoreError.
        """
        if str(path) == ":memory:":
            store = cls(duckdb.connect(":memory:", config=CONFIG), None, runs_root)
        else:
            file = Path(path).expanduser().absolute()
            if creation.check_place(file):
                creation.create(file, lambda built: _build(built, file))
            left = recovery.look(file)
            store = cls(_connect(file), file, (runs_root or file.with_suffix(".runs")).absolute())
            store._held = held.hold(file)
            store.recovered = left
            spilling.prepare(file)
        try:
            with told(store.path):
                known = store._looked_at()
                runs_folder.point_traces(store._connection, store.runs_root, known)
                runs_folder.follow_moved(store._connection, store.runs_root, store.transaction)
        except OSError as error:
            store.close()
            raise StoreError(
                f"The folder of runs {store.runs_root} cannot be written: {error.strerror}."
            ) from error
        except BaseException:
            store.close()
            raise
        return store

    def _looked_at(self) -> str | None:
        """Bring the tables up to date; the folder of runs that the file remembers.

        A file that turns out to be damaged is left as it is: until it has been read, closing it does not
        merge its log.
        """
        self._connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        if self.recovered is not None:
            self.recovered = recovery.came_back(self.recovered, self._connection)
        known = migrate.bring_up_to_date(self._connection, self.path, fresh=self.path is None)
        self._connection.execute("PRAGMA enable_checkpoint_on_shutdown")
        return known

    def close(self) -> None:
        """Let the file go; every cursor of every thread is closed with it."""
        if self._closed:
            return
        self._closed = True
        for cursor in list(self._cursors):
            with suppress(duckdb.Error):
                cursor.interrupt()  # else closing waits for whatever another thread computes on it
            cursor.close()
        self._connection.close()
        if self._held is not None:
            held.let_go(self._held)
        if self._outbox is not None and self.runs_root is None:
            with suppress(OSError):
                self._outbox.rmdir()
        if self.path is not None:
            with suppress(OSError):
                spilling.folder(self.path).rmdir()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def cursor(self) -> Cursor:
        """This thread's cursor.  Inside `transaction()` it sees what the transaction has written."""
        if self._closed:
            raise StoreError("The database is closed.")
        cursor: Cursor | None = getattr(self._local, "cursor", None)
        if cursor is None:
            cursor = self.new_cursor()
            self._local.cursor = cursor
        return cursor

    def new_cursor(self) -> Cursor:
        """A further cursor, for a query that is interrupted or streamed apart from this thread's others."""
        cursor = self._connection.cursor()
        self._cursors.add(cursor)
        return cursor

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """All or nothing, on disk when the block is left.  One thread writes at a time; nested calls join."""
        cursor = self.cursor()
        with self._writing:
            if self._depth:
                yield cursor
                return
            with told(self.path):
                cursor.execute("BEGIN TRANSACTION")
            self._depth = 1
            try:
                with told(self.path):
                    yield cursor
                    cursor.execute("COMMIT")
            except BaseException:
                with suppress(duckdb.Error):  # a failed COMMIT has already rolled back
                    cursor.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0
            self.changes += 1
            self._keep_private()

    def spare_memory(self, most: int | None) -> None:
        """Let DuckDB hold `most` bytes and spill what is more to disk; None: as much as CONFIG says.

        It holds for all threads.  A store in memory has nowhere to spill to, and nothing is changed.
        """
        if self.path is None:
            return
        allowed = str(CONFIG["memory_limit"])
        if most is not None and most < bytes_of(allowed):
            allowed = f"{most} bytes"
        with suppress(duckdb.Error):  # what is in use now cannot always be spilled; then the limit stays
            self.cursor().execute(f"SET memory_limit = '{allowed}'")

    def plain_texts(self, plain: bool) -> None:
        """Write texts into the file as they are, or compressed again.

        To choose how to compress the 122,880 texts of a group of rows DuckDB copies all of them for one
        method and a quarter for another, and gives that one twice as much again, all beside its limit: 300 MB
        where a text has 2,000 characters.
        """
        methods = "dictionary,fsst,dict_fsst,zstd" if plain else ""
        with suppress(duckdb.Error):
            self.cursor().execute(f"SET disabled_compression_methods = '{methods}'")

    @property
    def spill_folder(self) -> Path | None:
        """The private folder of what does not fit into memory; None where there is none."""
        place = spilling.folder(self.path) if self.path is not None else None
        return place if place is not None and place.is_dir() else None

    def leave_room(self) -> None:
        """Stop something large before it takes the last of the disk, so that judgements still go in.

        DuckDB does not make its file smaller when a transaction is taken back.  Raises DiskFullError.
        """
        if self.path is not None:
            disk = os.statvfs(self.path.parent)
            if disk.f_bavail * disk.f_frsize < min(ROOM, disk.f_blocks * disk.f_frsize // 20):
                raise DiskFullError(
                    f"The disk is full: nothing more can be written to {self.path} but what is judged. "
                    "Free some space and try again."
                )

    def lock_down(self, *, settings: bool = False) -> None:
        """From now on SQL reaches no file but those of the store and its runs, no network and no extension.

        It holds for every cursor of this process and cannot be undone.  With `settings` nothing can be set
        any more either, the limits of memory for imports included.
        """
        if self._locked_down and not settings:
            return
        with self._locking, told(self.path):
            cursor = self._connection.cursor()
            try:
                if self._outbox is None:
                    here = [self.runs_root] if self.runs_root is not None else []
                    unfinished = [
                        name for (name,) in cursor.execute(block("store", "unfinished_runs")).fetchall()
                    ]
                    self._outbox = walls.outbox(self.runs_root)
                    folders = [*here, self._outbox, *walls.strayed(unfinished, self.runs_root)]
                    walls.lock(cursor, folders, settings=settings)
                elif settings:
                    walls.lock(cursor, [], settings=True)
                self._locked_down = True
            finally:
                cursor.close()

    @property
    def outbox(self) -> Path | None:
        """The folder that exports pass through once the store is locked down; None before."""
        return self._outbox

    def before(self, sql: str) -> None:
        """See that a statement that reads token traces finds whole files only."""
        if "token_traces" in sql.lower():
            set_aside_torn(self.runs_root)

    def rows(self, sql: str, parameters: Parameters = None) -> list[tuple[Any, ...]]:
        """Run one statement on this thread's cursor and fetch everything."""
        self.before(sql)
        cursor = self.cursor()
        with told(self.path):
            return cursor.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Parameters = None) -> tuple[Any, ...] | None:
        """The first row, or None."""
        self.before(sql)
        cursor = self.cursor()
        with told(self.path):
            return cursor.execute(sql, parameters).fetchone()

    def records(self, record: type[T], sql: str, parameters: Parameters = None) -> list[T]:
        """Rows as records; the columns stand in the order of the record's fields."""
        return [record(*row) for row in self.rows(sql, parameters)]

    def table(self, sql: str, parameters: Parameters = None) -> pyarrow.Table:
        """Many rows, by columns; what this thread has not committed yet is not among them."""
        self.before(sql)
        cursor = self.new_cursor()
        with told(self.path), closing(cursor):
            return cursor.execute(sql, parameters).to_arrow_reader(MANY).read_all()

    def write(self, sql: str, parameters: Parameters = None) -> int:
        """One changing statement, in its own transaction or the open one; the number of rows changed."""
        with self.transaction() as cursor:
            changed = cursor.execute(sql, parameters).fetchone()
        return int(changed[0]) if changed else 0

    def write_many(
        self,
        sql: str,
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        types: Mapping[str, str] | None = None,
    ) -> None:
        """Run `INSERT … SELECT … FROM arrived` where the table `arrived` is `rows`, in one statement.

        `types`: Arrow's names of the types of some columns; elsewhere the values tell.

        Few rows go as JSON, many as an Arrow table, which costs 1 µs a row and, once, the import of pyarrow.
        """
        if not rows:
            return
        few = with_rows(sql, columns, rows) if len(rows) < MANY else None
        if few is not None:
            self.write(*few)
            return
        import pyarrow as pa

        told_types = types or {}
        arrays = [
            pa.array(column, told_types.get(name))
            for name, column in zip(columns, zip(*rows, strict=True), strict=True)
        ]
        with self.transaction() as cursor:
            cursor.register("arrived", pa.table(arrays, names=list(columns)))
            try:
                cursor.execute(sql)
            finally:
                cursor.unregister("arrived")

    def _keep_private(self) -> None:
        """DuckDB makes its write-ahead log with the usual mode; the judgements in it are nobody else's."""
        if self.path is not None:
            log = f"{self.path}.wal"
            with suppress(OSError):
                if os.stat(log).st_mode & 0o077:
                    os.chmod(log, 0o600)


def _build(built: Path, file: Path) -> None:
    """Make the whole database of `file` at `built`."""
    with told(file):
        connection = _private(built)
        try:
            migrate.bring_up_to_date(connection, built, fresh=True)
        finally:
            connection.close()


def _connect(file: Path) -> Cursor:
    with told(file):
        return _private(file)


def _private(file: Path) -> Cursor:
    """A connection to a file; what DuckDB makes beside it now is for its owner alone."""
    before = os.umask(0o077)
    try:
        return duckdb.connect(str(file), config=CONFIG)
    finally:
        os.umask(before)
