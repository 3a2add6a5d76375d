"""A look at all that a store consists of: file, log, rows, artifacts, runs, what killed processes left.

`look_at_files` works on the files of a store that nobody has open, also of one that cannot be opened;
`look_inside` on an open one.  With `repair` what can be put right is; nothing is thrown away that a person
may want.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from storage import runs
from storage.errors import StoreError
from storage.file import creation, recovery
from storage.file.traces import torn_traces
from storage.sql import block
from storage.store import Store
from storage.wording import counted

LITTLE_DISK = 2**30  # bytes free
ORPHANS = ("responses", "judgements", "judgement_items", "scores", "rollouts", "metrics")


@dataclass(frozen=True, slots=True)
class Finding:
    """What is not as it should be; `repaired` when it now is."""

    sentence: str
    repaired: bool = False


def look_at_files(file: Path, *, repair: bool) -> Iterator[Finding]:
    """The log, and what killed processes have left beside the database."""
    if file.is_file():
        place = recovery.damaged_at(file)
        if place is not None and not repair:
            yield Finding(
                f"The log {file.name}.wal is damaged at byte {place:,}; --repair keeps it and cuts it there."
            )
        if place is not None and repair:
            cut = recovery.cut_damaged(file)
            if cut is not None:
                yield Finding(
                    f"The log was cut at byte {cut.whole:,} of {cut.size:,}, where it is damaged; the whole "
                    f"of it is kept in {cut.kept}.",
                    repaired=True,
                )
    if file.parent.is_dir():
        for left in [*creation.unfinished(file), *file.parent.glob(f".{file.name}.*.look")]:
            if repair:
                with suppress(OSError):
                    left.unlink()
            yield Finding(f"{left.name} was left by a process that was killed.", repaired=not left.exists())


def look_inside(store: Store, *, repair: bool = False) -> Iterator[Finding]:
    """Damage that shows only when all is read, rows without what they belong to, artifacts and runs."""
    damaged = list(_unreadable(store))
    if damaged:  # what follows would stop at the same places
        yield from damaged
        return
    for name in ORPHANS:
        row = store.row(block("doctor", f"orphaned_{name}"))
        if row and row[0]:
            yield Finding(f"Rows of {name} belong to {row[1]} that are not there: {row[0]:,}.")
    stale = [run_id for (run_id,) in store.rows(block("doctor", "stale_latest"), {"runs": None})]
    if stale:
        if repair:
            runs.read_latest(store, stale)
        yield Finding(
            f"The last values kept of {counted(len(stale), 'run')} were not those of the metrics.",
            repaired=repair,
        )
    yield from _artifacts(store)
    yield from _runs(store)
    if store.path is not None:
        free = shutil.disk_usage(store.path.parent).free
        if free < LITTLE_DISK:
            yield Finding(f"The disk of {store.path.parent} has {free / 2**20:,.0f} MB left.")


def _unreadable(store: Store) -> Iterator[Finding]:
    """DuckDB checks a block's sum when it reads it, so everything is read once."""
    for (table,) in store.rows(block("doctor", "tables")):
        try:
            store.rows(block("doctor", "read_whole").replace("{table}", _quoted(table)))
        except (StoreError, duckdb.Error) as error:
            yield Finding(f"The table {table} cannot be read whole: {str(error).splitlines()[0]}")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _artifacts(store: Store) -> Iterator[Finding]:
    for name, path, stays in store.rows(block("doctor", "artifacts")):
        folder = Path(path)
        if not folder.exists():
            if not stays:  # of checkpoints a run keeps the last, and those of another machine stay there
                continue
            yield Finding(f"The files of {name} are gone: {path} is not there.")
            continue
        files = folder.rglob("*.safetensors") if folder.is_dir() else []
        for torn in [file for file in files if not is_whole_safetensors(file)]:
            yield Finding(f"{torn} is not whole; {name} cannot be loaded.")


def is_whole_safetensors(file: Path) -> bool:
    """Whether a file is as long as its header says (safetensors format: length, JSON, tensors)."""
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > size - 8:
                return False
            header: dict[str, Any] = json.loads(opened.read(length))
        tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
        return 8 + length + max((int(t["data_offsets"][1]) for t in tensors), default=0) == size
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _runs(store: Store) -> Iterator[Finding]:
    for run_id, run_dir in store.rows(block("doctor", "runs")):
        folder = Path(run_dir)
        if not folder.is_dir():
            yield Finding(f"The directory of run {run_id} is gone: {run_dir}.")
            continue
        for torn in torn_traces(folder):
            yield Finding(f"{torn} is not whole; the other token traces of run {run_id} are readable.")
    if store.runs_root is not None and store.runs_root.is_dir():
        known = {Path(run_dir) for _, run_dir in store.rows(block("doctor", "runs"))}
        for folder in sorted(store.runs_root.iterdir()):
            if (folder / "config.toml").is_file() and folder not in known:
                yield Finding(f"{folder} belongs to no run of this store.")
