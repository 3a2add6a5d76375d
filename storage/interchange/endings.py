"""How files that can be read end.  Nothing heavy, so that a tree of files is drawn without their readers."""

from __future__ import annotations

from pathlib import PurePath

PACKED_ENDINGS = (".gz", ".zst", ".zstd", ".bz2", ".xz", ".lz4")
ENDINGS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".pq", ".arrow", ".txt")


def is_readable(name: str) -> bool:
    """Whether a file may be one, by its ending, that of a plugin's reader included; hidden ones are not."""
    from storage.interchange.containers.plugged import has_reader

    ending = PurePath(name.lower()).suffix
    return not name.startswith(".") and (ending in ENDINGS or ending in PACKED_ENDINGS or has_reader(ending))
