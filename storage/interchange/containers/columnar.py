"""Parquet and Arrow files, read in batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from storage.interchange.containers.parts import Numbered, Part, wrong

BATCH = 1024  # rows
MEMORY = 2**26  # bytes of one read


def open_parquet(path: Path) -> Part:
    """Raises ImportFileError where the footer cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise wrong(path, _reason(error)) from None
    part = Part(path, lambda: iter(()), "row", size=max(path.stat().st_size, 1), columns=tuple(schema.names))
    part.read = lambda: _rows(part, schema, rows, _parquet_batches)
    return part


def open_arrow(path: Path) -> Part:
    """An Arrow file or stream, as `datasets.save_to_disk` writes it."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as file:
            schema = _reader(file).schema
    except (pa.ArrowException, OSError) as error:
        raise wrong(path, f"it cannot be read as Arrow ({str(error).strip().splitlines()[0]})") from None
    part = Part(path, lambda: iter(()), "row", size=max(path.stat().st_size, 1), columns=tuple(schema.names))
    part.read = lambda: _rows(part, schema, 0, _arrow_batches)
    return part


def _rows(part: Part, schema: Any, total: int, batches: Any) -> Iterator[Numbered]:
    import pyarrow as pa

    kept = [field.name for field in schema if not _binary(field.type)]
    left = [field.name for field in schema if _binary(field.type)]
    if left and not part.notes:
        part.notes.append(f"columns of bytes are left out: {', '.join(left)}")
    number = 0

    def position() -> int:
        return part.size * number // total if total else 0

    part.position = position
    try:
        for batch in batches(part.path, kept):
            columns = [batch.column(name).to_pylist() for name in kept]
            for values in zip(*columns, strict=True):
                number += 1
                yield number, dict(zip(kept, values, strict=True))
    except (pa.ArrowException, OSError) as error:
        raise wrong(part.path, _reason(error)) from None


def _parquet_batches(path: Path, columns: list[str]) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        yield from file.iter_batches(BATCH, columns=columns, use_threads=False)


def _arrow_batches(path: Path, columns: list[str]) -> Iterator[Any]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as file:
        reader = _reader(file)
        many = (
            reader
            if not hasattr(reader, "num_record_batches")
            else (reader.get_batch(n) for n in range(reader.num_record_batches))
        )
        for batch in many:
            for start in range(0, batch.num_rows, BATCH):
                yield batch.slice(start, BATCH).select(columns)


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
