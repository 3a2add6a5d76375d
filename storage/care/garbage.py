"""What a store no longer needs: found and shown first, removed when a person says so.

Nothing that a row of the store refers to is ever among it: neither a folder that an artifact, a policy or the
configuration of a run names, nor one that lies in such a folder or has such a one in it, nor an artifact that
scores, benchmarks or other artifacts name.  Runs that can still go on are left whole but for token traces of
the user's own rule, which holds for ended runs alone.

A row goes before its files, and a folder is renamed before it is emptied: a kill in between leaves files that
no row names, which the next look finds.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from storage.file import creation
from storage.file.traces import TORN
from storage.file.walls import OUT
from storage.literals import identifier
from storage.sql import block
from storage.store import Store

GONE = ".gone-"
"""How the name of a file or folder begins that is being removed."""
HALF = re.compile(r"^\..+?(?:\.(\d+))?\.(?:tmp|old|part|look)$")
"""Names of what is written before it takes its place, with the writer's process where it has one."""
PRODUCTS = re.compile(r"^(?:model|onnx)\b")
"""Names of the folders in which runs leave artifacts."""
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Garbage:
    """A file or a folder that can go; `what` says why, `artifact_id` which row goes with it."""

    what: str
    path: Path
    bytes: int
    artifact_id: str | None = None


class _References:
    """What the rows of a store refer to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        rows = store.rows(block("garbage", "places"))
        self._places: list[tuple[str, str | None]] = [(os.path.normpath(path), owner) for path, owner in rows]
        self._places += [(run_dir, None) for run_dir in run_dirs(store)]
        self._texts = [text for (text,) in store.rows(block("garbage", "configurations"))]

    def to(self, path: Path, *, besides: str | None = None) -> bool:
        """Whether a row other than that of the artifact `besides` names this path, or one in it."""
        name, within = str(path), f"{path}{os.sep}"
        if any(owner != besides or besides is None for place, owner in self._places if place == name):
            return True
        if any(place.startswith(within) for place, _ in self._places):
            return True
        return any(name in text for text in self._texts)

    def inside_of_artifact(self, path: Path) -> bool:
        """Whether an artifact or a policy that a row names has this path in it."""
        return any(
            str(path).startswith(f"{place}{os.sep}") for place, owner in self._places if owner is not None
        )

    def named(self, artifacts: Iterable[str]) -> set[str]:
        """Those of some artifacts that other rows name."""
        wanted, found = list(artifacts), set()
        for table, column in self._store.rows(block("garbage", "columns_of_artifacts")) if wanted else ():
            sql = block("garbage", "named_artifacts").replace("{table}", identifier(table))
            sql = sql.replace("{column}", identifier(column))
            found |= {name for (name,) in self._store.rows(sql, {"artifacts": wanted})}
        return found


def run_dirs(store: Store) -> list[str]:
    """The directories of all runs."""
    return [run_dir for (run_dir,) in store.rows(block("garbage", "run_dirs"))]


def find(
    store: Store, *, keep_traces: float | None = None, busy: Callable[[Path], bool] = lambda _: False
) -> list[Garbage]:
    """What can go, and its size; nothing is changed.

    `keep_traces`: days for which token traces of ended runs are kept, None for ever.  `busy` says of a run
    directory whether a worker is at it, which is left alone.
    """
    references = _References(store)
    ended = [Path(run_dir) for (run_dir,) in store.rows(block("garbage", "ended_runs"))]
    ended = [folder for folder in ended if folder.is_dir() and not busy(folder)]
    found = list(_superseded(store, references, busy))
    for folder in ended:
        found += _checkpoints(folder, references)
        found += _products(folder, references)
        found += _traces(folder, keep_traces)
        found += _half(folder, "*", "*/*")
    found += _unknown_runs(store, references, busy)
    if store.runs_root is not None:
        found += _half(store.runs_root, "*")
        found += [_sized("left by an export", path) for path in sorted((store.runs_root / OUT).glob("*"))]
    if store.path is not None:
        found += [
            _sized("left by a process that was killed", path) for path in creation.unfinished(store.path)
        ]
        found += _half(store.path.parent, f".{store.path.name}.*", f"{GONE}*")
    first: dict[Path, Garbage] = {}
    for each in found:
        first.setdefault(each.path, each)
    return [each for each in first.values() if not any(parent in first for parent in each.path.parents)]


def remove(store: Store, garbage: Iterable[Garbage]) -> int:
    """Remove what `find` has found, and nothing that a row has begun to refer to since; bytes."""
    removed, references = 0, _References(store)
    for each in garbage:
        if references.to(each.path, besides=each.artifact_id):
            continue
        if each.artifact_id is not None:
            if references.named([each.artifact_id]):
                continue
            store.write(block("garbage", "forget_artifact"), {"artifact_id": each.artifact_id})
        if _removed(each.path):
            removed += each.bytes
    return removed


def _superseded(store: Store, references: _References, busy: Callable[[Path], bool]) -> Iterator[Garbage]:
    """Artifacts of which there is a newer one of their kind and name, and that nothing else refers to.

    What lies outside the run directories was registered, and is not the workbench's to remove.
    """
    rows = store.rows(block("garbage", "superseded"))
    named = references.named(artifact for artifact, *_ in rows)
    roots = [Path(run_dir) for run_dir in run_dirs(store)]
    for artifact, kind, name, text in rows:
        path = Path(os.path.normpath(text))
        if artifact in named or references.to(path, besides=artifact) or not path.exists():
            continue
        owner = next((root for root in roots if path.is_relative_to(root)), None)
        if owner is not None and not busy(owner):
            yield _sized(f"{kind} {name}, of which there is a newer one", path, artifact)


def _checkpoints(folder: Path, references: _References) -> Iterator[Garbage]:
    """All but the last checkpoint of an ended run."""
    steps = [path for path in (folder / "checkpoints").glob("step-*") if path.name[5:].isdigit()]
    for path in sorted(steps, key=lambda path: int(path.name[5:]))[:-1]:
        if not references.to(path) and not references.inside_of_artifact(path):
            yield _sized("old checkpoint of an ended run", path)


def _products(folder: Path, references: _References) -> Iterator[Garbage]:
    """Folders of artifacts whose rows have gone, or never came."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and PRODUCTS.match(path.name) and not references.to(path):
            yield _sized("model that no row refers to", path)


def _traces(folder: Path, keep: float | None) -> Iterator[Garbage]:
    """Token traces older than the user keeps them."""
    if keep is None:
        return
    for path in sorted((folder / "traces").glob("*.parquet")):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > keep * DAY:
                yield _sized("token traces of an ended run", path)


def _unknown_runs(store: Store, references: _References, busy: Callable[[Path], bool]) -> Iterator[Garbage]:
    """Run directories of no run of this store; none where another database has its runs there too."""
    root = store.runs_root
    if root is None or not root.is_dir() or _neighbours(store):
        return
    known = {os.path.normpath(run_dir) for run_dir in run_dirs(store)}
    for folder in sorted(root.iterdir()):
        is_run = (folder / "config.toml").is_file() and not folder.name.startswith(".")
        if is_run and str(folder) not in known and not references.to(folder) and not busy(folder):
            yield _sized("run directory of no run of this store", folder)


def _neighbours(store: Store) -> list[Path]:
    """Other files beside the database whose runs would lie in the same folder: `a.db` beside `a.duckdb`."""
    path, root = store.path, store.runs_root
    if path is None or root is None:
        return []
    own = {path.name, root.name, f"{path.name}.wal", f"{path.name}.share", f"{path.name}.tmp"}
    beside = [other for other in path.parent.glob("*") if other.stem == root.stem and other.name not in own]
    return [other for other in beside if _is_database(other)]


def _is_database(file: Path) -> bool:
    try:
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            return opened.read(12)[8:] == b"DUCK"
    except OSError:
        return True  # what cannot be read is not judged


def _half(folder: Path, *patterns: str) -> Iterator[Garbage]:
    """What was being written or removed by a process that is no more."""
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            half = HALF.match(path.name)
            if path.name.startswith(GONE) or path.name.endswith(f".parquet{TORN}"):
                yield _sized("half removed, or not whole", path)
            elif half and not (half[1] and _lives(int(half[1]))):
                yield _sized("half written", path)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _sized(what: str, path: Path, artifact_id: str | None = None) -> Garbage:
    return Garbage(what, path, _bytes(path), artifact_id)


def _bytes(path: Path) -> int:
    """Of a file, or of all files below a folder; links count for nothing."""
    if path.is_symlink():
        return 0
    total = 0
    with suppress(OSError):
        files = [path] if path.is_file() else path.rglob("*")
        for file in files:
            with suppress(OSError):
                total += file.lstat().st_size if file.is_file() and not file.is_symlink() else 0
    return total


def _removed(path: Path) -> bool:
    """Rename, then remove; whether it has gone."""
    gone = path.with_name(f"{GONE}{secrets.token_hex(4)}-{path.name}")
    try:
        path.rename(gone)
        if gone.is_dir() and not gone.is_symlink():
            shutil.rmtree(gone)
        else:
            gone.unlink()
    except OSError:
        return False
    return True
