"""Parquet whose pages are large, as DuckDB writes them: 100 MB each, where others write 1 MB.

Whoever reads a row of such a file holds a whole page of every column, packed and unpacked.  So the columns
are read one after the other, into files of small batches that are then read side by side.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from storage.file.spilling import COPIES
from storage.interchange.containers.parts import Part, wrong

LARGE = 32 * 2**20  # bytes that a reader holds beside the batch that it gives
FIRST = 300  # rows, as many as a look at the file wants, are read before the rest is copied


def in_large_pages(file: Any, rows: int) -> bool:
    """Whether reading `rows` rows of an open Parquet file holds much more memory than these rows need.

    Only trying tells: no page says its size in the footer.  The largest column tells for all.
    """
    import pyarrow as pa

    about = file.metadata
    if not about.num_row_groups:
        return False
    group = about.row_group(0)
    largest = max((group.column(n) for n in range(group.num_columns)), key=_size, default=None)
    if largest is None or _size(largest) < LARGE:
        return False
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    reader = file.iter_batches(rows, row_groups=[0], columns=[largest.path_in_schema], use_threads=False)
    batch = next(reader)
    held: int = pool.bytes_allocated() - before - batch.nbytes
    del reader, batch
    pool.release_unused()
    return held > LARGE


def _size(column: Any) -> int:
    return int(column.total_uncompressed_size)


def one_column_at_a_time(part: Part, file: Any, columns: Sequence[str], rows: int) -> Iterator[Any]:
    """The file's batches.  The first ones are read by themselves, since often nothing else is wanted.

    Raises ImportFileError where there is no room for the files between.
    """
    import pyarrow as pa

    pool = pa.default_memory_pool()
    wanted = max(rows, min(FIRST, 4 * rows))
    first = []
    for name in columns:
        reader = file.iter_batches(wanted, columns=[name], use_threads=False)
        first.append(next(reader).column(name))
        del reader
        pool.release_unused()
    begun = min(map(len, first))
    for start in range(0, begun, rows):
        end = min(start + rows, begun)
        yield pa.RecordBatch.from_arrays([column[start:end] for column in first], list(columns))
    del first
    with tempfile.TemporaryDirectory(prefix=COPIES, dir=part.room, ignore_cleanup_errors=True) as folder:
        paths = [Path(folder, str(n)) for n in range(len(columns))]
        try:
            for path, name in zip(paths, columns, strict=True):
                _spool(path, file.iter_batches(rows, columns=[name], use_threads=False), name)
                pool.release_unused()
        except OSError as error:
            if error.errno is None:
                raise
            raise wrong(part.path, f"its columns cannot be copied into {folder} ({error.strerror})") from None
        for batch in _side_by_side(paths, columns):
            if begun < batch.num_rows:
                yield batch.slice(begun)
            begun = max(begun - batch.num_rows, 0)


def _spool(path: Path, batches: Iterator[Any], name: str) -> None:
    import pyarrow as pa

    packed = pa.ipc.IpcWriteOptions(compression="lz4")
    first = next(batches)
    schema = pa.schema([first.schema.field(name)])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema, options=packed) as writer:
        writer.write_batch(first.select([name]))
        for batch in batches:
            writer.write_batch(batch.select([name]))
            pa.default_memory_pool().release_unused()  # else the packed page stays beside the next one


def _side_by_side(paths: Sequence[Path], columns: Sequence[str]) -> Iterator[Any]:
    """Batches of all columns from a file for each, whose batches need not end at the same rows."""
    import pyarrow as pa

    files = [pa.OSFile(str(path)) for path in paths]
    try:
        readers = [pa.ipc.open_stream(file) for file in files]
        held: list[Any] = [None] * len(readers)
        while True:
            for n, reader in enumerate(readers):
                while not held[n]:
                    batch = next(reader, None)
                    if batch is None:
                        return
                    held[n] = batch.column(0)
            size = min(map(len, held))
            yield pa.RecordBatch.from_arrays([column[:size] for column in held], list(columns))
            held = [column[size:] for column in held]
    finally:
        for file in files:
            file.close()
