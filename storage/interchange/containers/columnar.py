"""Parquet and Arrow files, read in batches."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from storage.interchange.containers.large_pages import in_large_pages, one_column_at_a_time
from storage.interchange.containers.parts import Numbered, Part, wrong
from storage.interchange.mapping.cells import RowError

MOST_ROWS = 8192  # of a batch
MOST_BYTES = 8 * 2**20  # of a batch, by the mean row
MAPPED = 32 * 2**20  # bytes of an Arrow file that are read before their memory is given back


def open_parquet(path: Path) -> Part:
    """Raises ImportFileError where the footer cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise wrong(path, _reason(error)) from None
    _refuse_twice(path, schema)
    part = Part(path, lambda: iter(()), "row", size=max(path.stat().st_size, 1), columns=tuple(schema.names))
    part.tables = lambda: _tables(part, schema, rows, _parquet_batches)
    part.read = lambda: _rows(part)
    return part


def open_arrow(path: Path) -> Part:
    """An Arrow file or stream, as `datasets.save_to_disk` writes it."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as file:
            schema = _reader(file).schema
    except (pa.ArrowException, OSError) as error:
        raise wrong(path, f"it cannot be read as Arrow ({str(error).strip().splitlines()[0]})") from None
    _refuse_twice(path, schema)
    part = Part(path, lambda: iter(()), "row", size=max(path.stat().st_size, 1), columns=tuple(schema.names))
    part.tables = lambda: _tables(part, schema, 0, _arrow_batches)
    part.read = lambda: _rows(part)
    return part


def _refuse_twice(path: Path, schema: Any) -> None:
    """A row holds one value by each name."""
    twice = [name for name, times in Counter(schema.names).items() if times > 1]
    if twice:
        raise wrong(path, f'two columns are called "{twice[0]}"')


def _rows(part: Part) -> Iterator[Numbered]:
    assert part.tables is not None
    for number, table in part.tables():
        if isinstance(table, RowError):
            yield number, table
            continue
        names = table.schema.names
        columns = [python_values(column) for column in table.columns]
        for place, values in enumerate(zip(*columns, strict=True)):
            yield number + place, dict(zip(names, values, strict=True))


def python_values(column: Any) -> list[Any]:
    """The cells of an Arrow column; maps are objects, or pairs where a key stands twice."""
    try:
        values: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    except KeyError:
        values = column.to_pylist()
    return values


def _tables(part: Part, schema: Any, total: int, batches: Any) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa

    names = [field.name for field in schema if not _binary(field.type)]
    left = [field.name for field in schema if _binary(field.type)]
    if left and not part.notes:
        part.notes.append(f"columns of bytes are left out: {', '.join(left)}")
    done = 0
    part.position = lambda: part.size * done // total if total else 0
    pool = pa.default_memory_pool()
    try:
        with closing(batches(part, names)) as read:
            for batch in read:
                done += batch.num_rows
                yield from _whole_texts(done - batch.num_rows + 1, batch)
                pool.release_unused()  # pages of 100 MB, as DuckDB writes them, else stay
    except (pa.ArrowException, OSError) as error:
        raise wrong(part.path, _reason(error)) from None
    finally:
        pool.release_unused()


def _whole_texts(first: int, batch: Any) -> Iterator[tuple[int, Any]]:
    """The batch, or where it holds texts that are not UTF-8 its good rows and a RowError for each bad one.

    Other programs write such files, and nothing checks them before a text is read.
    """
    import pyarrow as pa

    try:
        batch.validate(full=True)
        yield first, batch
        return
    except pa.ArrowInvalid:
        pass
    begun = 0
    for place in range(batch.num_rows + 1):
        reason = _broken(batch.take(pa.array([place]))) if place < batch.num_rows else ""
        if reason is None:
            continue
        if begun < place:
            yield first + begun, batch.slice(begun, place - begun)
        if reason:
            yield first + place, RowError(reason)
        begun = place + 1


def _broken(row: Any) -> str | None:
    """Why one row cannot be read; None where it can."""
    import pyarrow as pa

    for name, column in zip(row.schema.names, row.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            text = str(error)
            return f'"{name}" is not UTF-8' if "UTF8" in text or "UTF-8" in text else f'"{name}" is damaged'
    return None


def _parquet_batches(part: Part, columns: list[str]) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(part.path, pre_buffer=False, buffer_size=2**20) as file:
        about = file.metadata
        size = sum(about.row_group(n).total_byte_size for n in range(about.num_row_groups))
        rows = _rows_of(size, about.num_rows)
        if in_large_pages(file, rows):
            yield from one_column_at_a_time(part, file, columns, rows)
        else:
            yield from file.iter_batches(rows, columns=columns, use_threads=False)


def _arrow_batches(part: Part, columns: list[str]) -> Iterator[Any]:
    """Of the mapped file no more than MAPPED bytes stay in memory, whatever was read before."""
    import pyarrow as pa

    with part.path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    read = 0
    for batch in _batches_of(_reader(pa.BufferReader(pa.py_buffer(mapped)))):
        rows = _rows_of(batch.nbytes, batch.num_rows)
        for start in range(0, batch.num_rows, rows):
            piece = batch.slice(start, rows).select(columns)
            yield piece
            read += piece.nbytes
            if read > MAPPED and hasattr(mmap, "MADV_DONTNEED"):
                mapped.madvise(mmap.MADV_DONTNEED)
                read = 0


def _batches_of(reader: Any) -> Iterator[Any]:
    """Of a stream, or of a file with its batches by number."""
    if hasattr(reader, "num_record_batches"):
        yield from (reader.get_batch(n) for n in range(reader.num_record_batches))
    else:
        yield from reader


def _rows_of(size: int, rows: int) -> int:
    """Rows of a batch."""
    return max(1, min(MOST_ROWS, MOST_BYTES * rows // max(size, 1)))


def _reader(file: Any) -> Any:
    import pyarrow as pa

    try:
        return pa.ipc.open_stream(file)
    except pa.ArrowInvalid:
        file.seek(0)
        return pa.ipc.open_file(file)


def _binary(kind: Any) -> bool:
    """Images and sounds: bytes, or a struct or a list that holds some."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(_binary(kind.field(n).type) for n in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _binary(kind.value_type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _reason(error: Exception) -> str:
    text = str(error)
    if "magic bytes" in text or "too small" in text.lower() or "footer" in text.lower():
        return "this is not a whole Parquet file; it is truncated or something else"
    return f"it cannot be read as Parquet ({text.strip().splitlines()[0]})"
