"""SQL on a store from Python, beside whoever holds it.

    import workbench

    db = workbench.connect("study.duckdb")
    db.sql("SELECT * FROM run_summary")                  # a DuckDB relation
    db.polars("SELECT * FROM preference_pairs")          # a polars frame
    db.arrow("SELECT * FROM response_scores")            # an Arrow table

While a workbench, a command or `workbench serve` holds the file, that process answers; otherwise the file is
opened for the length of the query alone, so that a notebook never stands in the workbench's way.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from storage.errors import LockedError, NotFoundError
from workbench.settings import load_settings

if TYPE_CHECKING:
    import duckdb
    import polars
    import pyarrow

    from storage.share.remote import OwnReader, RemoteCursor, RemoteStore

BATCH_ROWS = 20_000
STARTING = 3.0  # seconds in which a process that has just opened the store begins to share it
POLL = 0.05


class Connection:
    """Reads one store; each call is one query on the store as it is then.  For one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: RemoteStore | None = None

    @classmethod
    def to(cls, path: Path | str | None = None) -> Connection:
        """The store at `path`, by default the one of the settings.  Raises NotFoundError where none is."""
        file = Path(load_settings(db=None if path is None else str(path)).db)
        if not file.is_file():
            raise NotFoundError(f"There is no database {file}; “workbench --db {file}” makes one.")
        return cls(file)

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """The rows of one SELECT as a relation of `duckdb`'s own connection: `.pl()`, `.filter(…)`, joins.

        The rows have been fetched: the relation does not change with the store.
        Raises RefusedError for anything but reading, QueryError or ShareError with DuckDB's words.
        """
        import duckdb

        return duckdb.from_arrow(self.arrow(query))

    def arrow(self, query: str) -> pyarrow.Table:
        """The rows of one SELECT as an Arrow table; errors as of `sql`."""
        with self.stream(query) as batches:
            import pyarrow

            return pyarrow.Table.from_batches(list(batches), batches.schema)

    def polars(self, query: str) -> polars.DataFrame:
        """The rows of one SELECT as a polars frame; errors as of `sql`."""
        import polars

        frame = polars.from_arrow(self.arrow(query))
        assert isinstance(frame, polars.DataFrame)
        return frame

    @contextmanager
    def stream(self, query: str, *, batch_rows: int = BATCH_ROWS) -> Iterator[Any]:
        """The rows as Arrow batches (a `pyarrow.RecordBatchReader`), for more than fits into memory."""
        waiting_until = time.monotonic() + STARTING
        while True:
            try:
                reader = self._asked(query)
                break
            except LockedError:  # its holder may be starting, or ending
                if time.monotonic() > waiting_until:
                    raise
                time.sleep(POLL)
        try:
            yield reader.to_arrow_reader(batch_rows)
        finally:
            reader.close()

    def close(self) -> None:
        """Let go of the connection to the holder; the next query makes another."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _asked(self, query: str) -> RemoteCursor | OwnReader:
        """The query, asked of the holder, or of the file where nobody holds it."""
        from storage.share.asking import GoneError
        from storage.share.remote import OwnReader, RemoteStore

        locked = LockedError(f"{self.path} is open in another process.")
        for _ in range(2):  # a holder that has gone may have another after it
            try:
                self._held = self._held or RemoteStore(self.path, locked)
                return self._held.ask(query)
            except GoneError:
                self.close()
        reader = OwnReader(self.path)
        try:
            return reader.ask(query)
        except BaseException:
            reader.close()
            raise
