"""The private folder of a share's sockets, and those that killed processes have left.

Its owner holds a lock on a file in it, which ends with the process however that ends.  Whoever gets the lock
knows that nobody answers there any more; a process number would tell less, for numbers come again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

PREFIX = "workbench-share-"
LOCK = "lock"
SHORT = "/tmp"
LONGEST_PATH = 90  # of a socket; systems take 104 or 108 bytes


@dataclass(frozen=True, slots=True)
class ShareFolder:
    """A folder for this user's sockets alone, with a name short enough for them."""

    path: Path
    _lock: int

    @classmethod
    def make(cls) -> ShareFolder:
        """A new one, held until `close()` or the end of the process."""
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        if len(os.fsencode(path)) > LONGEST_PATH:
            path.rmdir()
            path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=SHORT))
        # Locked under another name first: a lock that can be taken is that of a process that is gone.
        lock = os.open(path / f".{LOCK}", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(path / f".{LOCK}", path / LOCK)
        return cls(path, lock)

    def close(self) -> None:
        """Remove it, with the sockets that are left in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def sweep() -> list[Path]:
    """Remove the folders of this user's processes that are gone; their paths."""
    places = {Path(tempfile.gettempdir()), Path(SHORT)}
    return [folder for place in places for folder in place.glob(f"{PREFIX}*") if _removed(folder)]


def _removed(folder: Path) -> bool:
    """Remove a folder whose lock nobody holds."""
    try:
        about = folder.lstat()
        if about.st_uid != os.getuid() or not stat.S_ISDIR(about.st_mode):
            return False
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:  # gone in this moment, or being made
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    except OSError:  # held; or another start removes it
        return False
    finally:
        os.close(lock)
    return True
