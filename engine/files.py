"""Whatever a job leaves on the disk is written whole or not at all, by one of these.  Torch-free.

A writer fills a temporary sibling, which takes its place when all of it is there; files are 0600 and folders
0700, since prompts and judgements may be private.  A process killed meanwhile leaves what stood there before.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.errors import WorkbenchError

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writing_file(path: Path) -> Iterator[Path]:
    """The path of a temporary file that takes the place of `path` when the block ends well.

    Raises WorkbenchError when the disk is full; nothing half-written is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE))
        with _telling_a_full_disk(path):
            yield temporary
            temporary.chmod(PRIVATE_FILE)
            os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never half of it."""
    with writing_file(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def writing_folder(destination: Path) -> Iterator[Path]:
    """A temporary sibling folder that takes the destination's place when the block ends well.

    Raises WorkbenchError when the disk is full; nothing half-written is left.
    """
    destination = Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f".{destination.name}.", suffix=".tmp"))
    try:
        with _telling_a_full_disk(destination):
            yield temporary
            _replace(temporary, destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(temporary: Path, destination: Path) -> None:
    """Rename into place; an older folder of that name steps aside first."""
    if not destination.exists():
        temporary.rename(destination)
        return
    aside = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f".{destination.name}.", suffix=".old"))
    os.replace(destination, aside)  # onto the empty folder just made
    temporary.rename(destination)
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _telling_a_full_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise WorkbenchError(f"The disk is full: {path} was not written; free some space.") from error
        raise


def is_disk_full(error: BaseException) -> bool:
    """Whether the disk or the quota is used up; writers in Rust say so in words, not by a number."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    return any(f"(os error {number})" in str(error) for number in FULL)


def sweep(folder: Path) -> None:
    """Remove what a process killed while writing below a run directory left; call it where no other writes.

    Files at the top stay: the workbench may be writing one.
    """
    for left in [*folder.glob(".*.tmp"), *folder.glob(".*.old"), *folder.glob("*/**/.*.tmp")]:
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        elif left.parent != folder:
            left.unlink(missing_ok=True)
