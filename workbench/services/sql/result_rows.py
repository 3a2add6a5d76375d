"""The rows of one result, any number: the first in memory, the others in a file that has no name."""

from __future__ import annotations

import os
import tempfile
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow

IN_MEMORY = 16 * 2**20
"""Bytes of Arrow's that stay in memory; what comes after them is written."""
READ_BACK = 8
"""Batches that were read back last and are kept."""


class RowsClosedError(Exception):
    """Nobody looks at the result any more; whoever still reads rows for it stops."""


class ResultRows:
    """Rows that one thread adds while others look at those that are there."""

    def __init__(
        self,
        schema: pyarrow.Schema,
        folder: Path | None = None,
        before_writing: Callable[[], None] = lambda: None,
    ) -> None:
        """The file, if one is needed, is made in `folder`, or where temporary files are.

        `before_writing` is called before each write and raises what keeps from it.
        """
        self.schema = schema
        self.closed = False
        self._folder, self._before_writing = folder, before_writing
        self._starts: list[int] = []
        self._count = 0
        self._bytes = 0
        self._memory: list[pyarrow.RecordBatch] = []
        self._file: int | None = None
        self._places: list[tuple[int, int]] = []  # offset and bytes of each batch that was written
        self._end = 0
        self._recent: OrderedDict[int, pyarrow.RecordBatch] = OrderedDict()
        self._guard = threading.Lock()

    def __len__(self) -> int:
        return self._count

    @classmethod
    def of(cls, table: pyarrow.Table) -> ResultRows:
        """The rows of a table that is there."""
        rows = cls(table.schema)
        for batch in table.to_batches():
            rows.add(batch)
        return rows

    def add(self, batch: pyarrow.RecordBatch) -> None:
        """Put rows behind those that are there.

        Raises RowsClosedError after `close`, OSError where the file cannot be written.
        """
        if self.closed:
            raise RowsClosedError
        if self._bytes + batch.nbytes <= IN_MEMORY and not self._places:
            self._memory.append(batch)
        else:
            self._write(batch)
        self._bytes += batch.nbytes
        self._starts.append(self._count)
        self._count += batch.num_rows  # last: who looks meanwhile sees whole batches

    def place(self, row: int) -> tuple[int, int]:
        """Number of the batch that has row `row`, and the row's place in it."""
        number = bisect_right(self._starts, row) - 1
        return number, row - self._starts[number]

    def batch(self, number: int) -> pyarrow.RecordBatch:
        """Batch `number`, from 0, read back where it was written.  Raises RowsClosedError after `close`."""
        if number < len(self._memory):
            return self._memory[number]
        with self._guard:
            if self.closed or self._file is None:
                raise RowsClosedError
            found = self._recent.pop(number, None) or self._read(*self._places[number - len(self._memory)])
            self._recent[number] = found
            if len(self._recent) > READ_BACK:
                self._recent.popitem(last=False)
            return found

    def batches(self) -> Iterator[pyarrow.RecordBatch]:
        """Every batch that is there now."""
        for number in range(len(self._starts)):
            yield self.batch(number)

    def close(self) -> None:
        """Give memory and file back."""
        with self._guard:
            self.closed = True
            self._memory.clear()
            self._recent.clear()
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _write(self, batch: pyarrow.RecordBatch) -> None:
        import pyarrow as pa

        self._before_writing()
        sink = pa.BufferOutputStream()
        # A stream of its own: dictionaries come along, and any batch can be read alone.
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_stream(sink, self.schema, options=options) as writer:
            writer.write_batch(batch)
        left = memoryview(sink.getvalue())
        begins = self._end
        with self._guard:
            if self.closed:
                raise RowsClosedError
            if self._file is None:
                self._file = _unnamed(self._folder)
            while left:
                written = os.pwrite(self._file, left, self._end)
                self._end += written
                left = left[written:]
        self._places.append((begins, self._end - begins))

    def _read(self, offset: int, size: int) -> pyarrow.RecordBatch:
        import pyarrow as pa

        assert self._file is not None
        with pa.ipc.open_stream(os.pread(self._file, size, offset)) as reader:
            return reader.read_next_batch()


def _unnamed(folder: Path | None) -> int:
    """A file without a name, which ends with the process that has it open."""
    with tempfile.TemporaryFile(dir=folder if folder is not None and folder.is_dir() else None) as file:
        return os.dup(file.fileno())
