"""A run made again: the commands for it, and an archive that opens elsewhere with the same figures."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Any

from engine.errors import UsageError, WorkbenchError
from engine.protocol.catalog import JOBS
from engine.protocol.fields import fields
from engine.protocol.rundir import RunDir
from storage.store import Store
from storage.transfer import bundling
from workbench.services.runs.jobs import Jobs, RunDetail

STORE, MANIFEST = "study.duckdb", "manifest.json"
RUNS = "study.runs"
GIVEN = ("config.toml", "inputs.json", "inputs")
SAID = ("events.jsonl", "outputs", "traces", "request.json")
MODELS = ("model", "onnx", "features")
MOST_BYTES = 1 << 40
"""Of one file in a bundle: what says that it holds more is refused before anything is unpacked."""
PART = 1 << 20
COMMANDS = {
    "generate": ("generate",),
    "reward": ("train", "reward"),
    "process_reward": ("train", "process-reward"),
    "export": ("export", "onnx"),
    "score": ("score-torch",),
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """An archive of a run, or what was unpacked of one."""

    run_id: str
    path: str
    files: int
    bytes: int
    """Of the files, unpacked."""


def script(jobs: Jobs, run_id: str) -> str:
    """Commands that make a run again from its own snapshot, and one that makes it from the store as it is."""
    detail = jobs.show(run_id)
    folder = Path(detail.run_dir or "")
    lines = [
        "#!/bin/sh",
        f"# {detail.kind} {run_id}, {detail.status}; data {detail.data_hash or 'not read yet'}",
        f"# device {detail.device or 'auto'}; preference-workbench {version('preference-workbench')}",
        "set -e",
    ]
    missing = [name for name in GIVEN if not (folder / name).exists()]
    if missing:
        lines += ["", f"# The snapshot is gone: {folder} has no {' and no '.join(missing)}."]
    else:
        again = f"{run_id}-again"
        lines += [
            "",
            "# From the snapshot that the run read: the same configuration, the same rows, the same seed.",
            f"mkdir {quote(again)}",
            *(f"cp -r {quote(str(folder / name))} {quote(again)}/" for name in GIVEN),
            f"python -m engine.worker {quote(again)}",
        ]
        lines += [
            f"# It reads the {role.replace('_', ' ')} {ref.name} from {ref.folder}."
            for role, ref in RunDir(folder).inputs.models.items()
        ]
    lines += ["", "# From the store as it is now, under another name:", f"# {command(detail)}"]
    return "\n".join(lines) + "\n"


def command(detail: RunDetail) -> str:
    """The command line that submits a job with the run's configuration, its name made another."""
    kind = detail.kind
    words = list(COMMANDS.get(kind, ("train", kind.replace("_", "-"))))
    if kind not in JOBS:
        return f"# The job {kind} belongs to a package that is not installed here."
    for field in fields(JOBS[kind].config):
        value: Any = detail.config.get(field.name)
        if value is None or (not field.required and value == field.default):
            continue
        if isinstance(value, (list, tuple)) and list(value) == list(field.default or ()):
            continue
        option = f"--{field.name.replace('_', '-')}"
        if field.name == "name":
            value = f"{value}-again"
        if field.type == "bool":
            words.append(option if value else f"--no-{option[2:]}")
        elif isinstance(value, (list, tuple)):
            for item in value:
                words += [option, str(item)]
        elif kind == "export" and field.name == "reward_model":
            words.append(str(value))
        else:
            words += [option, field.format(value)]
    return " ".join(["workbench", *map(quote, words)])


def bundle(store: Store, jobs: Jobs, run_id: str, target: Path, *, models: bool = False) -> Bundle:
    """Pack a run: what it was given and has said, and a store with its rows, each file with its hash.

    The store holds prompts, responses, judgements and scores whole, and of the runs this one and those it
    builds on.  `models` packs what it has made too.  Raises UsageError where the run has not ended or the
    file is there, WorkbenchError for a disk that is full.
    """
    detail = jobs.show(run_id)
    if detail.status in ("queued", "running"):
        raise UsageError(f"{run_id} is {detail.status}; it can be packed when it has ended.")
    if target.exists():
        raise UsageError(f"{target} is there already; give another name, or remove it.")
    unfinished = target.absolute().with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with TemporaryDirectory(prefix=".workbench-bundle-", dir=target.absolute().parent) as scratch:
            made = Path(scratch, STORE)
            bundling.write(store, made, run_id)
            files = [(STORE, made), *_files(Path(detail.run_dir or ""), f"{RUNS}/{run_id}", models)]
            with open(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
                size = _pack(opened, files, {"run": run_id, "kind": detail.kind})
        os.link(unfinished, target.absolute())
    except OSError as error:
        raise WorkbenchError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return Bundle(run_id, str(target), len(files), size)


def unbundle(source: Path, folder: Path) -> Bundle:
    """Unpack a bundle into a new folder; every file is checked against its hash, and none leaves the folder.

    `workbench --db FOLDER/study.duckdb` then opens it.  Raises UsageError for what is no bundle or was
    changed; nothing is left then.
    """
    if folder.exists():
        raise UsageError(f"{folder} is there already; give a folder that is not.")
    unfinished = folder.absolute().with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(source) as archive:
            held = _manifest(archive, source)
            unfinished.mkdir(mode=0o700)
            size = sum(
                _unpack(archive, source, name, digest, unfinished) for name, digest in held["files"].items()
            )
        os.rename(unfinished, folder.absolute())
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise UsageError(f"{source} is not a bundle of a run: {error}.") from error
    except OSError as error:
        raise UsageError(
            f"{error.filename or source} cannot be read or written: {error.strerror}."
        ) from error
    finally:
        if unfinished.exists():
            shutil.rmtree(unfinished)
    return Bundle(str(held["run"]), str(folder), len(held["files"]), size)


def _files(folder: Path, place: str, models: bool) -> Iterator[tuple[str, Path]]:
    """(name in the archive, file) of a run directory; links are left where they are."""
    for name in (*GIVEN, *SAID, *(MODELS if models else ())):
        start = folder / name
        files = [start] if start.is_file() else sorted(start.rglob("*")) if start.is_dir() else []
        for file in files:
            if stat.S_ISREG(file.lstat().st_mode):
                yield f"{place}/{file.relative_to(folder).as_posix()}", file


def _pack(opened: Any, files: list[tuple[str, Path]], about: dict[str, str]) -> int:
    """Write the archive; the bytes of its files."""
    hashes, size = {}, 0
    with zipfile.ZipFile(opened, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in files:
            with file.open("rb") as reading, archive.open(name, "w", force_zip64=True) as writing:
                hashes[name], length = _copied(reading.read, writing.write)
                size += length
        made_with = version("preference-workbench")
        archive.writestr(MANIFEST, json.dumps({**about, "version": made_with, "files": hashes}, indent=1))
    return size


def _manifest(archive: zipfile.ZipFile, source: Path) -> dict[str, Any]:
    """What the archive says of itself.  Raises UsageError unless it lists exactly the files that it holds."""
    names = [name for name in archive.namelist() if name != MANIFEST]
    try:
        held = json.loads(archive.read(MANIFEST)[: 1 << 26])
        files = {str(name): str(digest) for name, digest in held["files"].items()}
        run_id = str(held["run"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{source} is not a bundle of a run: its {MANIFEST} cannot be read.") from error
    if sorted(files) != sorted(names):
        raise UsageError(f"{source} was changed: it does not hold the files that its {MANIFEST} lists.")
    for name in names:
        path = PurePosixPath(name)
        plain = not path.is_absolute() and ".." not in path.parts and "\\" not in name and ":" not in name
        mode = archive.getinfo(name).external_attr >> 16
        if not plain or str(path) != name or (path.parts[0] not in (STORE, RUNS)) or stat.S_ISLNK(mode):
            raise UsageError(f"{source} is not a bundle of a run: it holds {name[:80]!r}.")
    return {"run": run_id, "files": files}


def _unpack(archive: zipfile.ZipFile, source: Path, name: str, digest: str, folder: Path) -> int:
    if archive.getinfo(name).file_size > MOST_BYTES:
        raise UsageError(f"{source} holds {name[:80]!r} of more than {MOST_BYTES:,} bytes.")
    target = folder / name
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        archive.open(name) as reading,
        open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as writing,
    ):
        unpacked, size = _copied(reading.read, writing.write)
    if unpacked != digest:
        raise UsageError(f"{source} was changed: {name[:80]!r} has another hash than its {MANIFEST} says.")
    return size


def _copied(read: Callable[[int], bytes], write: Callable[[bytes], Any]) -> tuple[str, int]:
    """Copy to the end; SHA-256 in hexadecimal, and the number of bytes."""
    digest, size = hashlib.sha256(), 0
    while part := read(PART):
        digest.update(part)
        size += len(part)
        write(part)
    return digest.hexdigest(), size
